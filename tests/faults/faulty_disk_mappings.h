/* A part of faulty_disk.c: small files that are written through a mapping. What is in one when a sync begins counts as
   written then. */

#define MOST_MAPPED 8
#define MAPPED_BYTES 4096

struct mapping {
    const void *place; /* NULL: none */
    size_t size;
    uint64_t inode;
    char noted[MAPPED_BYTES];
};

static struct mapping mappings[MOST_MAPPED];

static void *mapped(void *place, size_t size, int protection, int flags, int fd) {
    struct file *file = file_of(fd);
    if (place == MAP_FAILED || !file || size > MAPPED_BYTES || !(flags & MAP_SHARED) || !(protection & PROT_WRITE))
        return place;
    pthread_mutex_lock(&lock);
    int number = 0;
    while (number < MOST_MAPPED && mappings[number].place) number++;
    if (number == MOST_MAPPED) abort();
    mappings[number] = (struct mapping){place, size, file->inode, {0}};
    memcpy(mappings[number].noted, place, size);
    pthread_mutex_unlock(&lock);
    return place;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    REAL(mmap);
    return mapped(real(at, size, protection, flags, fd, offset), size, protection, flags, fd);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    return mmap(at, size, protection, flags, fd, offset);
}

static void note_mapped(void) {
    for (int number = 0; number < MOST_MAPPED; number++) {
        struct mapping *mapping = &mappings[number];
        if (!mapping->place || !memcmp(mapping->noted, mapping->place, mapping->size)) continue;
        memcpy(mapping->noted, mapping->place, mapping->size);
        note(LOG_WRITE, mapping->inode, 0, 0, NULL, mapping->noted, mapping->size);
    }
}

int munmap(void *place, size_t size) {
    REAL(munmap);
    pthread_mutex_lock(&lock);
    note_mapped();
    for (int number = 0; number < MOST_MAPPED; number++)
        if (mappings[number].place == place) mappings[number].place = NULL;
    pthread_mutex_unlock(&lock);
    return real(place, size);
}

/* A disk at its worst, for whatever process this is preloaded into (LD_PRELOAD): calls on files below one directory fail,
   hang, or are written down, with what they wrote, in their order.

   FAULTY_DISK_DIRECTORY  the directory
   FAULTY_DISK_CONTROL    a file with a `struct control`, which whoever steers maps, too
   FAULTY_DISK_LOG        where the calls are written down; without it they are not

   faulty_disk.py and disk_log.py have the other side of them. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, CREATE = 8, REMOVE = 16, READ = 32 };

struct control {
    uint64_t calls;         /* which kinds of calls go wrong, a sum of the above; 0: none */
    uint64_t skip;          /* so many of them pass first */
    uint64_t count;         /* and so many go wrong */
    uint64_t error;         /* with this errno; 0: they hang until `calls` is 0; DEATH: they are not made any more */
    uint64_t failed;        /* so many did go wrong */
    uint64_t sync_delay_us; /* each sync takes at least so long */
    uint64_t lies;          /* 1: a sync does nothing, and succeeds */
    char suffix[40];        /* only files whose path ends with this */
};

enum { LOG_CREATE = 1, LOG_WRITE, LOG_TRUNCATE, LOG_SYNC_BEGIN, LOG_SYNC_END, LOG_SYNC_FAILED, LOG_UNLINK, LOG_RENAME,
       LOG_MKDIR };

struct entry {
    uint32_t magic;
    uint8_t kind;
    uint8_t is_directory;
    uint16_t path_bytes;
    uint64_t inode;
    uint64_t value; /* an offset, a size, or the number of a sync */
    uint64_t data_bytes;
};

#define MAGIC 0x4b534944
#define DEATH UINT64_MAX /* the process is killed */
#define MOST_FDS 65536

struct file {
    char *path; /* NULL: none of ours */
    uint64_t inode;
    int is_directory;
};

static struct control *control;
static char directory[4096];
static int log_fd = -1;
static uint64_t syncs;
static struct file files[MOST_FDS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("FAULTY_DISK_DIRECTORY"), *steered = getenv("FAULTY_DISK_CONTROL");
    const char *log = getenv("FAULTY_DISK_LOG");
    if (!below || !steered) return;
    int fd = open(steered, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *place = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (place == MAP_FAILED) return;
    if (log) log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    snprintf(directory, sizeof directory, "%s", below);
    control = place;
}

static int is_below(const char *path) {
    size_t size = strlen(directory);
    return control && !strncmp(path, directory, size) && (path[size] == '/' || !path[size]);
}

static struct file *file_of(int fd) {
    return control && fd >= 0 && fd < MOST_FDS && files[fd].path ? &files[fd] : NULL;
}

/* The path from the root, without links in its directory; 0 if it is none of ours. `at`: the directory in which a
   relative path begins. */
static int find(int at, const char *path, char *whole) {
    char place[4096];
    if (!control || !path) return 0;
    if (at == AT_FDCWD || *path == '/') snprintf(place, sizeof place, "%s", path);
    else if (!file_of(at)) return 0;
    else if ((size_t)snprintf(place, sizeof place, "%s/%s", files[at].path, path) >= sizeof place) return 0;
    char *slash = strrchr(place, '/');
    const char *name = slash ? slash + 1 : place;
    char parent[4096];
    if (slash) *slash = 0;
    if (!realpath(slash ? (*place ? place : "/") : ".", parent)) return 0;
    size_t size = snprintf(whole, 4096, "%s/%s", strcmp(parent, "/") ? parent : "", name);
    return size < 4096 && is_below(whole);
}

static void forget(int fd) {
    if (file_of(fd)) {
        free(files[fd].path);
        files[fd].path = NULL;
    }
}

static void note(int kind, uint64_t inode, uint64_t value, int is_directory, const char *path, const void *data,
                 size_t size) {
    if (log_fd < 0) return;
    struct entry entry = {MAGIC, kind, is_directory, path ? strlen(path) : 0, inode, value, size};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)path, entry.path_bytes}, {(void *)data, size}};
    if (writev(log_fd, parts, 3) != (ssize_t)(sizeof entry + entry.path_bytes + size)) abort();
}

/* Whether this call goes wrong, with errno set; or it returns when it no longer hangs. */
static int goes_wrong(int kind, const char *path) {
    if (!(control->calls & kind)) return 0;
    size_t size = strlen(path), end = strnlen(control->suffix, sizeof control->suffix);
    if (size < end || memcmp(path + size - end, control->suffix, end)) return 0;
    pthread_mutex_lock(&lock);
    int wrong = 0;
    if (control->skip)
        control->skip--;
    else if (control->count) {
        if (control->count != UINT64_MAX) control->count--;
        control->failed++;
        wrong = 1;
    }
    pthread_mutex_unlock(&lock);
    if (wrong && !control->error) {
        while (control->calls & kind) usleep(2000);
        return 0;
    }
    if (wrong && control->error == DEATH) {
        kill(getpid(), SIGKILL);
        pause();
    }
    errno = wrong ? (int)control->error : errno;
    return wrong;
}

/* Opening. */

static int opened(int fd, int existed, int flags) {
    char link[64], path[4096];
    if (fd < 0 || fd >= MOST_FDS) return fd;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return fd;
    path[size] = 0;
    struct stat about;
    if (!is_below(path) || fstat(fd, &about)) return fd;
    forget(fd);
    files[fd] = (struct file){strdup(path), about.st_ino, S_ISDIR(about.st_mode)};
    if (!existed) note(LOG_CREATE, about.st_ino, 0, 0, path, NULL, 0);
    else if (flags & O_TRUNC) note(LOG_TRUNCATE, about.st_ino, 0, 0, NULL, NULL, 0);
    return fd;
}

static int open_any(int (*real)(int, const char *, int, ...), int at, const char *path, int flags, mode_t mode) {
    char whole[4096];
    if (!find(at, path, whole)) return real(at, path, flags, mode);
    struct stat about;
    int existed = !lstat(whole, &about);
    if ((flags & O_CREAT) && !existed && goes_wrong(CREATE, whole)) return -1;
    if ((flags & O_TRUNC) && existed && goes_wrong(TRUNCATE, whole)) return -1;
    pthread_mutex_lock(&lock);
    int fd = opened(real(at, path, flags, mode), existed, flags);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN_BODY(at) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    REAL(openat); \
    return open_any(real, at, path, flags, mode)

int openat(int at, const char *path, int flags, ...) { OPEN_BODY(at); }
int openat64(int at, const char *path, int flags, ...) { OPEN_BODY(at); }
int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open(path, flags); }
int __openat_2(int at, const char *path, int flags) { return openat(at, path, flags); }
int __openat64_2(int at, const char *path, int flags) { return openat(at, path, flags); }
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static int copied(int from, int to) {
    pthread_mutex_lock(&lock);
    if (to >= 0 && to < MOST_FDS && from != to) {
        forget(to);
        if (file_of(from)) {
            files[to] = files[from];
            files[to].path = strdup(files[from].path);
        }
    }
    pthread_mutex_unlock(&lock);
    return to;
}

int dup(int fd) { REAL(dup); return copied(fd, real(fd)); }
int dup2(int fd, int to) { REAL(dup2); return copied(fd, real(fd, to)); }
int dup3(int fd, int to, int flags) { REAL(dup3); return copied(fd, real(fd, to, flags)); }

int close(int fd) {
    REAL(close);
    if (!file_of(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    forget(fd);
    int result = real(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Writing. */

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset, int at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    struct file *file = file_of(fd);
    if (!file) return at ? real(fd, data, size, offset) : real_write(fd, data, size);
    if (goes_wrong(WRITE, file->path)) return -1;
    pthread_mutex_lock(&lock);
    ssize_t done = at ? real(fd, data, size, offset) : real_write(fd, data, size);
    int error = errno;
    if (done > 0) note(LOG_WRITE, file->inode, at ? offset : lseek(fd, 0, SEEK_CUR) - done, 0, NULL, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return write_at(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return write_at(fd, data, size, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_at(fd, data, size, offset, 1); }

static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset, int at) {
    ssize_t sum = 0;
    for (int number = 0; number < count; number++) {
        ssize_t done = write_at(fd, parts[number].iov_base, parts[number].iov_len, offset + sum, at);
        if (done < 0) return sum ? sum : done;
        sum += done;
        if ((size_t)done < parts[number].iov_len) break;
    }
    return sum;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return file_of(fd) ? write_parts(fd, parts, count, 0, 0) : real(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    return file_of(fd) ? write_parts(fd, parts, count, offset, 1) : real(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(fd, parts, count, offset);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    struct file *file = file_of(fd);
    if (!file) return real(fd, size);
    if (goes_wrong(TRUNCATE, file->path)) return -1;
    pthread_mutex_lock(&lock);
    int result = real(fd, size);
    if (!result) note(LOG_TRUNCATE, file->inode, size, 0, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

/* A file that grows by this is noted as one that is truncated to a larger size. */
static int grow(int fd, off_t offset, off_t size) {
    struct file *file = file_of(fd);
    if (goes_wrong(WRITE, file->path)) return errno;
    struct stat about;
    if (fstat(fd, &about)) return errno;
    return about.st_size < offset + size && ftruncate(fd, offset + size) ? errno : 0;
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    REAL(posix_fallocate);
    return file_of(fd) ? grow(fd, offset, size) : real(fd, offset, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size) { return posix_fallocate(fd, offset, size); }

int fallocate(int fd, int mode, off_t offset, off_t size) {
    REAL(fallocate);
    if (!file_of(fd)) return real(fd, mode, offset, size);
    errno = mode ? EOPNOTSUPP : grow(fd, offset, size);
    return errno ? -1 : 0;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return fallocate(fd, mode, offset, size); }

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    REAL(pread);
    struct file *file = file_of(fd);
    return file && goes_wrong(READ, file->path) ? -1 : real(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { return pread(fd, data, size, offset); }

#include "faulty_disk_mappings.h"

/* Syncing: what was written before it begins is on the disk when it ends. */

static int sync_by(int (*real)(int), int fd) {
    struct file *file = file_of(fd);
    if (!file) return real(fd);
    if (control->lies) return 0;
    struct file held = {strdup(file->path), file->inode, file->is_directory};
    pthread_mutex_lock(&lock);
    note_mapped();
    uint64_t number = ((uint64_t)getpid() << 32) + ++syncs;
    note(LOG_SYNC_BEGIN, held.inode, number, held.is_directory, held.path, NULL, 0);
    pthread_mutex_unlock(&lock);
    int result = goes_wrong(SYNC, held.path) ? -1 : 0;
    int error = errno;
    if (!result) {
        if (control->sync_delay_us) usleep(control->sync_delay_us);
        result = real(fd);
        error = errno;
    }
    pthread_mutex_lock(&lock);
    note(result ? LOG_SYNC_FAILED : LOG_SYNC_END, held.inode, number, held.is_directory, held.path, NULL, 0);
    pthread_mutex_unlock(&lock);
    free(held.path);
    errno = error;
    return result;
}

int fsync(int fd) { REAL(fsync); return sync_by(real, fd); }
int fdatasync(int fd) { REAL(fdatasync); return sync_by(real, fd); }

/* Names. */

int unlinkat(int at, const char *path, int flags) {
    char whole[4096];
    REAL(unlinkat);
    if (!find(at, path, whole)) return real(at, path, flags);
    if (goes_wrong(REMOVE, whole)) return -1;
    pthread_mutex_lock(&lock);
    int result = real(at, path, flags);
    if (!result) note(LOG_UNLINK, 0, 0, 0, whole, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int rename(const char *from, const char *to) {
    char whole_from[4096], whole_to[4096];
    REAL(rename);
    if (!find(AT_FDCWD, from, whole_from) || !find(AT_FDCWD, to, whole_to)) return real(from, to);
    if (goes_wrong(REMOVE, whole_to)) return -1;
    pthread_mutex_lock(&lock);
    int result = real(from, to);
    if (!result) note(LOG_RENAME, 0, 0, 0, whole_from, whole_to, strlen(whole_to));
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    char whole[4096];
    REAL(mkdir);
    if (!find(AT_FDCWD, path, whole)) return real(path, mode);
    if (goes_wrong(CREATE, whole)) return -1;
    pthread_mutex_lock(&lock);
    int result = real(path, mode);
    if (!result) note(LOG_MKDIR, 0, 0, 1, whole, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

/* A disk without room says so to whoever asks. */

static void without_room(struct statvfs *about) {
    if (control && control->calls && control->failed && control->error == ENOSPC)
        about->f_bavail = about->f_bfree = 0;
}

int statvfs(const char *path, struct statvfs *about) {
    REAL(statvfs);
    int result = real(path, about);
    if (!result && is_below(path)) without_room(about);
    return result;
}

int statvfs64(const char *path, struct statvfs64 *about) { return statvfs(path, (struct statvfs *)about); }

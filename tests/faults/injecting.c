/* Kills the process, or makes one call fail, at the N-th write, rename, fsync or open below a folder.
   cc -shared -fPIC -o injecting.so injecting.c -ldl; LD_PRELOAD=./injecting.so python ...; see injecting.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char place[PATH_MAX];
static long at = -1;    /* which call; -1: none, they are counted */
static int fault;       /* an errno, or 0: the process is killed */
static atomic_long seen;

void inject(const char *folder, long number, int error) {
    snprintf(place, sizeof place, "%s", folder);
    at = number;
    fault = error;
    atomic_store(&seen, 0);
}

long injected_calls(void) { return atomic_load(&seen); }

static int below(const char *path) {
    char whole[PATH_MAX];
    if (!place[0] || !path) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        path = whole;
    }
    return strncmp(path, place, strlen(place)) == 0 && !strstr(path, "/../"); /* data lie beside it */
}

static int open_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!place[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Whether this call is the one; a process that is to be killed does not return. */
static int hit(int counts) {
    if (!counts || atomic_fetch_add(&seen, 1) != at) return 0;
    if (!fault) raise(SIGKILL);
    errno = fault;
    return 1;
}

#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE(flags) mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { NEXT(open); MODE(flags); return hit(below(path)) ? -1 : next(path, flags, mode); }
int open64(const char *path, int flags, ...) { NEXT(open64); MODE(flags); return hit(below(path)) ? -1 : next(path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { NEXT(openat); MODE(flags); return hit(below(path)) ? -1 : next(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { NEXT(openat64); MODE(flags); return hit(below(path)) ? -1 : next(dir, path, flags, mode); }
int rename(const char *from, const char *to) { NEXT(rename); return hit(below(to)) ? -1 : next(from, to); }
int fsync(int fd) { NEXT(fsync); return hit(open_below(fd)) ? -1 : next(fd); }
int fdatasync(int fd) { NEXT(fdatasync); return hit(open_below(fd)) ? -1 : next(fd); }

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    if (open_below(fd)) {
        if (!fault && atomic_load(&seen) == at && size > 1) next(fd, data, size / 2); /* killed with half of it written */
        if (hit(1)) return -1;
    }
    return next(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    NEXT(pwrite64);
    if (open_below(fd)) {
        if (!fault && atomic_load(&seen) == at && size > 1) next(fd, data, size / 2, offset);
        if (hit(1)) return -1;
    }
    return next(fd, data, size, offset);
}

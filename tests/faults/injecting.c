/* Kills the process, stops it, or makes one call fail, at the N-th write, rename, fsync or open below a folder.
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
#include <sys/syscall.h>
#include <unistd.h>

enum { KILL = 0, STOP = -1 };

static char place[PATH_MAX];
static long at = -1;  /* which call; -1: none, they are counted */
static int fault;     /* an errno; KILL: the process is killed; STOP: it is stopped at every call */
static int told = -1; /* a file descriptor that is told each call, or none */
static atomic_long seen;

void inject(const char *folder, long number, int error, int tell) {
    snprintf(place, sizeof place, "%s", folder);
    at = number;
    fault = error;
    told = tell;
    atomic_store(&seen, 0);
}

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

static int open_below(int fd, char path[PATH_MAX]) {
    char link[64];
    if (!place[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Whether this call is the one that fails; a process that is to be killed does not return. */
static int hit(const char *call, const char *path) {
    long mine = atomic_fetch_add(&seen, 1);
    if (told >= 0) {
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        syscall(SYS_write, told, line, (size_t)length);
    }
    if (fault == STOP) raise(SIGSTOP);
    if (mine != at) return 0;
    if (fault == KILL) raise(SIGKILL);
    if (fault <= 0) return 0;
    errno = fault;
    return 1;
}

#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE(flags) mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
#define OPENED(path) (below(path) && hit("open", path))

int open(const char *path, int flags, ...) { NEXT(open); MODE(flags); return OPENED(path) ? -1 : next(path, flags, mode); }
int open64(const char *path, int flags, ...) { NEXT(open64); MODE(flags); return OPENED(path) ? -1 : next(path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { NEXT(openat); MODE(flags); return OPENED(path) ? -1 : next(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { NEXT(openat64); MODE(flags); return OPENED(path) ? -1 : next(dir, path, flags, mode); }
int rename(const char *from, const char *to) { NEXT(rename); return below(to) && hit("rename", to) ? -1 : next(from, to); }
int fsync(int fd) { NEXT(fsync); char path[PATH_MAX]; return open_below(fd, path) && hit("fsync", path) ? -1 : next(fd); }
int fdatasync(int fd) { NEXT(fdatasync); char path[PATH_MAX]; return open_below(fd, path) && hit("fsync", path) ? -1 : next(fd); }

/* Whether a write ends half-way, where the process is killed or stopped. */
static int in_halves(size_t size) { return size > 1 && (fault == STOP || (fault == KILL && atomic_load(&seen) == at)); }

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    char path[PATH_MAX];
    if (!open_below(fd, path)) return next(fd, data, size);
    ssize_t half = in_halves(size) ? next(fd, data, size / 2) : 0;
    if (half < 0 || hit("write", path)) return -1;
    ssize_t rest = next(fd, (const char *)data + half, size - (size_t)half);
    return rest < 0 ? rest : half + rest;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    NEXT(pwrite64);
    char path[PATH_MAX];
    if (!open_below(fd, path)) return next(fd, data, size, offset);
    ssize_t half = in_halves(size) ? next(fd, data, size / 2, offset) : 0;
    if (half < 0 || hit("write", path)) return -1;
    ssize_t rest = next(fd, (const char *)data + half, size - (size_t)half, offset + half);
    return rest < 0 ? rest : half + rest;
}

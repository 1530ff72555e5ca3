/* A disk that takes 2 ms longer to say that what was written is on it:
     cc -shared -fPIC -o .bench/slow_sync.so tests/benchmarks/backends/slow_sync.c -ldl
     LD_PRELOAD=$PWD/.bench/slow_sync.so make bench-backends */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int later(const char *name, int file) {
    struct timespec longer = {0, 2000000};
    nanosleep(&longer, 0);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return later("fsync", file); }
int fdatasync(int file) { return later("fdatasync", file); }

/* A disk that fails when it is told to, for one directory of one process (LD_PRELOAD).
 *
 * MERIDIAN_DISK_FAULTS names a control file of 16 bytes, mapped and shared with the test: u32 which (0 none, 1 writes,
 * 2 syncs), u32 errno, u32 calls that still succeed, u32 number of failures so far. MERIDIAN_DISK_ROOT is the directory.
 * MERIDIAN_DISK_SYNCS names a file that gets one line "path<TAB>bytes" for each sync that succeeded: what a loss of
 * power would leave of that file. MERIDIAN_DISK_SLOW_US makes each sync take longer. A failing write first writes half of its bytes, as a full or broken disk may do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control { volatile uint32_t which, error, left, failures; };

static struct control *control;
static const char *root;
static int syncs = -1;
static unsigned slow_us;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    root = getenv("MERIDIAN_DISK_ROOT");
    const char *path = getenv("MERIDIAN_DISK_FAULTS");
    if (root == NULL || path == NULL) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) control = found;
    const char *slow = getenv("MERIDIAN_DISK_SLOW_US");
    if (slow != NULL) slow_us = (unsigned)atoi(slow);
    const char *log = getenv("MERIDIAN_DISK_SYNCS");
    if (log != NULL) syncs = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0;
}

/* Tell whether this call is the one that fails, and from then on every one. */
static int fails(int fd, uint32_t which)
{
    char path[PATH_MAX];
    if (control == NULL || control->which != which || !path_of(fd, path)) return 0;
    if (control->left > 0) { __sync_fetch_and_sub(&control->left, 1); return 0; }
    __sync_fetch_and_add(&control->failures, 1);
    return 1;
}

static ssize_t refuse(void) { errno = (int)control->error; return -1; }

ssize_t write(int fd, const void *data, size_t count)
{
    if (!fails(fd, 1)) return real_write(fd, data, count);
    if (control->failures == 1 && count > 1) return real_write(fd, data, count / 2);
    return refuse();
}

ssize_t pwrite64(int fd, const void *data, size_t count, off_t at)
{
    return fails(fd, 1) ? refuse() : real_pwrite(fd, data, count, at);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return pwrite64(fd, data, count, at); }

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails(fd, 1) ? refuse() : real_writev(fd, parts, count);
}

/* Sync, and note how long the file was before: what was written meanwhile is not counted as durable. */
static int sync_with(int (*real)(int), int fd)
{
    char path[PATH_MAX], line[PATH_MAX + 32];
    struct stat found;
    if (fails(fd, 2)) return (int)refuse();
    int noted = syncs >= 0 && path_of(fd, path) && fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    if (noted && slow_us) usleep(slow_us);
    int result = real(fd);
    if (result == 0 && noted) {
        int length = snprintf(line, sizeof line, "%s\t%lld\n", path, (long long)found.st_size);
        if (real_write(syncs, line, (size_t)length) != length) abort();
    }
    return result;
}

int fsync(int fd) { return sync_with(real_fsync, fd); }
int fdatasync(int fd) { return sync_with(real_fdatasync, fd); }

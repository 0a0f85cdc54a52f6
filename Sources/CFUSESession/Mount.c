// Mounting, unmounting, and the state of a mount point.
#define _GNU_SOURCE
#include "Session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/// libfuse writes its reasons to a log; the first line of a failed mount is the one that people need.
static _Thread_local struct { char *text; size_t size; } reason_buffer;

static void keep_reason(enum fuse_log_level level, const char *format, va_list arguments) {
    if (!reason_buffer.text) {
        if (level <= FUSE_LOG_WARNING) vfprintf(stderr, format, arguments);
        return;
    }
    if (reason_buffer.text[0]) return;
    vsnprintf(reason_buffer.text, reason_buffer.size, format, arguments);
    reason_buffer.text[strcspn(reason_buffer.text, "\n")] = 0;
}

/// libfuse reads requests through this only in its own loops, which aren't used.
static ssize_t read_device(int device, void *buffer, size_t size, void *context) {
    (void)context;
    return read(device, buffer, size);
}

/// What is negotiated with the kernel besides mappings (Passthrough.c): transfers that fit the buffers, and no splicing, as requests
/// are received into memory.
static void negotiate(void *context, struct fuse_conn_info *connection) {
    (void)context;
    connection->max_write = CFUSE_MAX_TRANSFER;
    connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static cfuse_session *discard(cfuse_session *session) {
    if (session->fuse) fuse_session_destroy(session->fuse);
    sem_destroy(&session->stop_requests);
    free(session->request);
    free(session->reply);
    free(session);
    return NULL;
}

cfuse_session *cfuse_mount(
    const char *mount_point, const char *options, const struct fuse_lowlevel_ops *operations, const struct cfuse_direct *direct,
    uint64_t polling_limit, void *context, char *reason, size_t reason_size) {
    cfuse_session *session = calloc(1, sizeof *session);
    reason[0] = 0;
    if (!session) return NULL;
    sem_init(&session->stop_requests, 0, 0);
    session->context = context;
    session->direct = *direct;
    session->polling_limit = polling_limit;
    session->request = aligned_alloc(4096, CFUSE_BUFFER_SIZE);
    session->reply = aligned_alloc(4096, CFUSE_BUFFER_SIZE);
    if (!session->request || !session->reply) return discard(session);

    reason_buffer.text = reason;
    reason_buffer.size = reason_size;
    fuse_set_log_func(keep_reason);
    char *arguments[] = {"outrigger", "-o", (char *)options, NULL};
    struct fuse_args list = FUSE_ARGS_INIT(3, arguments);
    struct fuse_lowlevel_ops all = *operations;
    all.init = negotiate;
    session->fuse = fuse_session_new(&list, &all, sizeof all, context);
    fuse_opt_free_args(&list);
    bool mounted = session->fuse && fuse_session_mount(session->fuse, mount_point) == 0;
    reason_buffer.text = NULL;
    if (!mounted) return discard(session);

    session->device = fuse_session_fd(session->fuse);
    struct fuse_custom_io io = {.read = read_device, .writev = cfuse_writev};
    int flags = fcntl(session->device, F_GETFL);
    if (fuse_session_custom_io(session->fuse, &io, session->device) != 0
        || fcntl(session->device, F_SETFL, polling_limit ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0) {
        snprintf(reason, reason_size, "the FUSE device can't be set up: %s", strerror(errno));
        fuse_session_unmount(session->fuse);
        return discard(session);
    }
    return session;
}

void cfuse_unmount(cfuse_session *session) {
    cfuse_stop_on_signals(NULL);
    // Closes the device first: an unmount that had to ask this server would wait for itself.
    fuse_session_unmount(session->fuse);
    discard(session);
}

enum cfuse_place cfuse_examine(const char *path) {
    // Without AT_STATX_DONT_SYNC a living FUSE server would have to answer; with it, a dead one isn't noticed.
    struct statx place;
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &place) < 0) {
        if (errno == ENOENT) return CFUSE_PLACE_MISSING;
        if (errno == ENOTDIR) return CFUSE_PLACE_NOT_A_DIRECTORY;
        return errno == ENOTCONN || errno == ECONNABORTED ? CFUSE_PLACE_STALE : CFUSE_PLACE_UNKNOWN;
    }
    if (place.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
        if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &place) < 0
            && (errno == ENOTCONN || errno == ECONNABORTED)) return CFUSE_PLACE_STALE;
        return CFUSE_PLACE_MOUNTED;
    }
    if (!S_ISDIR(place.stx_mode)) return CFUSE_PLACE_NOT_A_DIRECTORY;
    DIR *directory = opendir(path);
    if (!directory) return CFUSE_PLACE_UNKNOWN;
    int entries = 0;
    while (entries <= 2 && readdir(directory)) entries++;
    closedir(directory);
    return entries <= 2 ? CFUSE_PLACE_DIRECTORY : CFUSE_PLACE_NOT_EMPTY;  // "." and ".." are always there.
}

int cfuse_unmount_stale(const char *path) {
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return 0;
    if (errno != EPERM) return -1;
    // Users who can't unmount by themselves have libfuse's helper, which knows whose mount it is.
    extern char **environ;
    char *arguments[] = {"fusermount3", "-u", "-z", "--", (char *)path, NULL};
    pid_t helper;
    int status, error = posix_spawnp(&helper, arguments[0], NULL, NULL, arguments, environ);
    if (error) {
        errno = error;
        return -1;
    }
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {}
    errno = EPERM;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

// The part of a FUSE server that libfuse 3.14 has no call for, or does at a cost: the receive loop, READ and WRITE of files that
// answer at once, shared mappings of files (FUSE passthrough), and what state a mount point is in.
#pragma once

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse3/fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// One mounted file system, served by one thread.
typedef struct cfuse_session cfuse_session;

/// What `read` and `write` of `cfuse_direct` return to leave the request to libfuse's own `read` and `write` operations.
static const int64_t CFUSE_LEAVE_TO_LIBFUSE = INT64_MIN;

/// The operations that bypass libfuse. `read` and `write` answer before they return.
struct cfuse_direct {
    /// Puts at most `size` bytes at `into`; returns their number, a negative errno, or CFUSE_LEAVE_TO_LIBFUSE.
    int64_t (*read)(void *context, uint64_t node, uint64_t handle, uint64_t offset, void *into, uint32_t size, uint32_t thread);
    /// Takes `size` bytes from `from`; returns how many it took, or a negative errno.
    int64_t (*write)(void *context, uint64_t node, uint64_t handle, uint64_t offset, const void *from, uint32_t size, uint32_t thread);
    /// The client has its answer: the serving thread may do something else for a moment, before it receives again.
    void (*answered)(void *context);
};

/// Makes a session and mounts it on `mount_point`.
///
/// `context` is the user data of `operations` (fuse_req_userdata; `init` is this module's own) and of `direct`.
/// `polling_limit` is the longest time, in nanoseconds, to poll for the next request before sleeping; 0 sleeps always (a plain
/// blocking read loop). Returns NULL when the mount fails, with libfuse's reason at `reason`.
cfuse_session *cfuse_mount(
    const char *mount_point, const char *options, const struct fuse_lowlevel_ops *operations, const struct cfuse_direct *direct,
    uint64_t polling_limit, void *context, char *reason, size_t reason_size);

/// Serves requests in the calling thread until the file system is unmounted or `cfuse_stop` is called. Returns 0, or an errno.
int cfuse_serve(cfuse_session *session);

/// Ends `cfuse_serve`, from any thread or signal handler. Returns at once.
void cfuse_stop(cfuse_session *session);

/// Makes SIGINT, SIGTERM and SIGHUP stop this session. Returns 0, or an errno.
int cfuse_stop_on_signals(cfuse_session *session);

/// Unmounts, lazily if the mount is in use, and frees the session. Nobody may answer a request of it any more.
void cfuse_unmount(cfuse_session *session);

/// Whether files can have a shared mapping: the kernel offers FUSE passthrough. Known once the first request has been served.
bool cfuse_can_map(const cfuse_session *session);

/// Registers `file` as the memory behind one inode. Returns an id greater than 0, or a negative errno (EPERM without CAP_SYS_ADMIN).
int32_t cfuse_backing_open(cfuse_session *session, int file);
void cfuse_backing_close(cfuse_session *session, int32_t backing);

/// How the kernel shall treat an opened file.
enum cfuse_open_mode {
    /// Every read and write comes to the server at its exact offset and size; no shared mapping.
    CFUSE_OPEN_DIRECT = 0,
    /// As direct, and each close is told.
    CFUSE_OPEN_FLUSHED,
    /// As direct, and a stream: no file position, so that a blocked read never holds up a write on the same descriptor.
    CFUSE_OPEN_STREAM,
    /// As direct, and a mapping maps the backing file.
    CFUSE_OPEN_DIRECT_MAPPED,
    /// Reads, writes and mappings all go to the backing file without asking the server.
    CFUSE_OPEN_BACKING,
};

/// Answers an OPEN. `backing` matters for the last two modes only.
int cfuse_reply_open(fuse_req_t request, struct fuse_file_info *info, enum cfuse_open_mode mode, int32_t backing);

/// What is at a path that shall become a mount point.
enum cfuse_place {
    CFUSE_PLACE_DIRECTORY,
    CFUSE_PLACE_MISSING,
    CFUSE_PLACE_NOT_A_DIRECTORY,
    /// A directory with something in it, which a mount would hide.
    CFUSE_PLACE_NOT_EMPTY,
    /// Another file system is mounted there, and alive.
    CFUSE_PLACE_MOUNTED,
    /// A FUSE file system is mounted there whose server has died.
    CFUSE_PLACE_STALE,
    /// It can't be examined; errno says why.
    CFUSE_PLACE_UNKNOWN,
};
enum cfuse_place cfuse_examine(const char *path);

/// Unmounts what a dead server left at a path. Returns 0, or -1 with errno.
int cfuse_unmount_stale(const char *path);

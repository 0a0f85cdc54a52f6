// Shared mappings: FUSE passthrough (Linux 6.9, FUSE protocol 7.40), for which libfuse 3.14 (protocol 7.38) has no call. libfuse
// makes the INIT and OPEN replies; on their way to the kernel they are completed here.
#define _GNU_SOURCE
#include "Session.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

// include/uapi/linux/fuse.h of protocol 7.40, where Debian 12's ends at 7.38.
enum { PROTOCOL_MINOR = 40 };
#define INIT_EXTENDED (1u << 30)
#define INIT2_PASSTHROUGH (1u << 5)
#define OPENED_PASSTHROUGH (1u << 7)
struct backing_map { int32_t file; uint32_t flags; uint64_t padding; };
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

// A reply is made and sent by one thread: the reply that waits for completion is the thread's own, whatever others send meanwhile.
static _Thread_local cfuse_session *answering_init;
static _Thread_local struct { bool pending; uint32_t flags; int32_t backing; } opening;

void cfuse_expect_init(cfuse_session *session) { answering_init = session; }

bool cfuse_can_map(const cfuse_session *session) {
    return session->offered >> 32 & INIT2_PASSTHROUGH && session->offered & INIT_EXTENDED;
}

static void complete_init(const cfuse_session *session, struct fuse_init_out *out) {
    if (!cfuse_can_map(session)) return;
    out->minor = PROTOCOL_MINOR;
    out->flags |= INIT_EXTENDED;
    out->flags2 |= INIT2_PASSTHROUGH;
    // max_stack_depth: the backing files are plain memory files, stacked on nothing.
    out->unused[0] = 1;
}

ssize_t cfuse_writev(int device, struct iovec *vector, int count, void *context) {
    (void)context;
    const struct fuse_out_header *header = vector[0].iov_base;
    if (count == 2 && header->error == 0) {
        if (answering_init && vector[1].iov_len == sizeof(struct fuse_init_out)) {
            struct fuse_init_out out;
            memcpy(&out, vector[1].iov_base, sizeof out);
            complete_init(answering_init, &out);
            return writev(device, (struct iovec[]){vector[0], {&out, sizeof out}}, 2);
        }
        if (opening.pending && vector[1].iov_len == sizeof(struct fuse_open_out)) {
            struct fuse_open_out out;
            memcpy(&out, vector[1].iov_base, sizeof out);
            out.open_flags = opening.flags;
            // backing_id, where protocol 7.38 has padding.
            out.padding = (uint32_t)opening.backing;
            return writev(device, (struct iovec[]){vector[0], {&out, sizeof out}}, 2);
        }
    }
    return writev(device, vector, count);
}

int cfuse_reply_open(fuse_req_t request, struct fuse_file_info *info, enum cfuse_open_mode mode, int32_t backing) {
    static const uint32_t flags[] = {
        [CFUSE_OPEN_DIRECT] = FOPEN_DIRECT_IO | FOPEN_NOFLUSH,
        [CFUSE_OPEN_FLUSHED] = FOPEN_DIRECT_IO,
        [CFUSE_OPEN_STREAM] = FOPEN_DIRECT_IO | FOPEN_NOFLUSH | FOPEN_STREAM | FOPEN_NONSEEKABLE,
        [CFUSE_OPEN_DIRECT_MAPPED] = FOPEN_DIRECT_IO | FOPEN_NOFLUSH | OPENED_PASSTHROUGH,
        [CFUSE_OPEN_BACKING] = FOPEN_NOFLUSH | OPENED_PASSTHROUGH,
    };
    opening.pending = true;
    opening.flags = flags[mode];
    opening.backing = flags[mode] & OPENED_PASSTHROUGH ? backing : 0;
    int result = fuse_reply_open(request, info);
    opening.pending = false;
    return result;
}

int32_t cfuse_backing_open(cfuse_session *session, int file) {
    if (!cfuse_can_map(session)) return -EOPNOTSUPP;
    struct backing_map map = {.file = file};
    int id = ioctl(session->device, BACKING_OPEN, &map);
    return id < 0 ? -errno : id;
}

void cfuse_backing_close(cfuse_session *session, int32_t backing) {
    uint32_t id = (uint32_t)backing;
    ioctl(session->device, BACKING_CLOSE, &id);
}

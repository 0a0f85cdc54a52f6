// Shared by the files of this module only.
#pragma once
#include "CFUSESession.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/// Largest READ or WRITE that is negotiated with the kernel.
enum { CFUSE_MAX_TRANSFER = 128 * 1024, CFUSE_BUFFER_SIZE = CFUSE_MAX_TRANSFER + 4096 };

struct cfuse_session {
    struct fuse_session *fuse;
    int device;
    void *context;
    struct cfuse_direct direct;
    /// Requests are received here.
    char *request;
    /// Direct answers are made here: a fuse_out_header and what follows it.
    char *reply;

    uint64_t polling_limit;
    /// Present polling time, between 0 and the limit.
    uint64_t polling_window;
    /// While polling, the processor is offered to others from this time on (CLOCK_MONOTONIC, nanoseconds).
    uint64_t yielding_resumes;

    /// Feature flags that the kernel offered with INIT.
    uint64_t offered;

    /// The serving thread and the thread that interrupts its blocking read.
    pthread_t server, stopper;
    sem_t stop_requests;
    atomic_bool stopping, serving, has_stopper;
};

/// Replaces libfuse's writev, to complete the INIT and OPEN replies that libfuse makes.
ssize_t cfuse_writev(int device, struct iovec *vector, int count, void *context);
/// Marks that the next reply of this thread answers INIT for this session, or (NULL) that it doesn't.
void cfuse_expect_init(cfuse_session *session);

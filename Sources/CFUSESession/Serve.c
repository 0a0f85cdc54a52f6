// The receive loop.
#define _GNU_SOURCE
#include "Session.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/// The signal that gets the serving thread out of a blocking read; its handler does nothing.
#define WAKE_SIGNAL SIGRTMIN

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// Sends the `size` bytes that follow the header in `session->reply`, or the error if `size` is negative.
static void send_reply(cfuse_session *session, uint64_t unique, int64_t size) {
    struct fuse_out_header *out = (struct fuse_out_header *)session->reply;
    out->unique = unique;
    out->error = size < 0 ? (int32_t)size : 0;
    out->len = (uint32_t)(sizeof *out + (size < 0 ? 0 : (uint64_t)size));
    // ENOENT says that the request was aborted meanwhile: nobody waits for the answer.
    if (write(session->device, out, out->len) < 0) return;
}

/// Serves READ and WRITE without libfuse. Returns false if the request is left to it.
static bool serve_direct(cfuse_session *session, size_t received) {
    const struct fuse_in_header *in = (const struct fuse_in_header *)session->request;
    if (in->opcode == FUSE_READ) {
        const struct fuse_read_in *argument = (const struct fuse_read_in *)(in + 1);
        if (received < sizeof *in + sizeof *argument || argument->size > CFUSE_MAX_TRANSFER) return false;
        int64_t result = session->direct.read(
            session->context, in->nodeid, argument->fh, argument->offset, session->reply + sizeof(struct fuse_out_header),
            argument->size, in->pid);
        if (result == CFUSE_LEAVE_TO_LIBFUSE) return false;
        send_reply(session, in->unique, result);
        return true;
    }
    if (in->opcode == FUSE_WRITE) {
        const struct fuse_write_in *argument = (const struct fuse_write_in *)(in + 1);
        if (received < sizeof *in + sizeof *argument || argument->size > received - sizeof *in - sizeof *argument) return false;
        int64_t result = session->direct.write(
            session->context, in->nodeid, argument->fh, argument->offset, argument + 1, argument->size, in->pid);
        if (result >= 0) {
            struct fuse_write_out *out = (struct fuse_write_out *)(session->reply + sizeof(struct fuse_out_header));
            *out = (struct fuse_write_out){.size = (uint32_t)result};
            result = sizeof *out;
        }
        send_reply(session, in->unique, result);
        return true;
    }
    return false;
}

static void serve_by_libfuse(cfuse_session *session, size_t received) {
    const struct fuse_in_header *in = (const struct fuse_in_header *)session->request;
    bool is_init = received >= sizeof *in && in->opcode == FUSE_INIT;
    if (is_init) {
        const struct fuse_init_in *init = (const struct fuse_init_in *)(in + 1);
        size_t size = received - sizeof *in;
        if (size >= offsetof(struct fuse_init_in, flags2)) session->offered = init->flags;
        if (size >= offsetof(struct fuse_init_in, unused)) session->offered |= (uint64_t)init->flags2 << 32;
        cfuse_expect_init(session);
    }
    struct fuse_buf buffer = {.size = received, .mem = session->request};
    fuse_session_process_buf(session->fuse, &buffer);
    if (is_init) cfuse_expect_init(NULL);
}

static ssize_t receive(cfuse_session *session) {
    return read(session->device, session->request, CFUSE_BUFFER_SIZE);
}

/// Receives on the non-blocking descriptor: polls for the present window, then sleeps.
///
/// The window follows the load as KVM's halt polling does: it doubles when a request came soon enough for polling to have met
/// it, and closes when none came in the longest window, so that an idle or slowly used device costs no processor time.
///
/// Between two looks the processor is offered to others, so that a client that shares it runs at once. If one of them keeps it for
/// long, it isn't a client: then nothing is offered for a while, as each offer would cost such a turn.
static ssize_t receive_polling(cfuse_session *session) {
    enum { FIRST_WINDOW = 10000, LONG_TURN = 200000, HOLD_OFF = 100000000 };
    ssize_t received = receive(session);
    if (received >= 0 || errno != EAGAIN) return received;
    uint64_t start = nanoseconds(), now = start;
    if (session->polling_window > 0) {
        do {
            bool yields = now >= session->yielding_resumes;
            if (yields) sched_yield();
            received = receive(session);
            int error = errno;
            uint64_t before = now;
            now = nanoseconds();
            if (yields && now - before > LONG_TURN) session->yielding_resumes = now + HOLD_OFF;
            errno = error;
            if (received >= 0 || errno != EAGAIN) return received;
        } while (now - start < session->polling_window);
    }
    struct pollfd device = {.fd = session->device, .events = POLLIN};
    if (poll(&device, 1, -1) < 0) return -1;
    if (nanoseconds() - start > session->polling_limit) {
        session->polling_window = 0;
    } else {
        uint64_t doubled = session->polling_window ? 2 * session->polling_window : FIRST_WINDOW;
        session->polling_window = doubled < session->polling_limit ? doubled : session->polling_limit;
    }
    return receive(session);
}

static void wake(int signal) { (void)signal; }

/// Sends the serving thread signals until it has left its loop: one alone could come just before the read blocks.
static void *interrupt_server(void *argument) {
    cfuse_session *session = argument;
    while (sem_wait(&session->stop_requests) < 0) {}
    atomic_store(&session->stopping, true);
    while (atomic_load(&session->serving)) {
        pthread_kill(session->server, WAKE_SIGNAL);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

int cfuse_serve(cfuse_session *session) {
    // Without SA_RESTART: the read shall end with EINTR.
    struct sigaction action = {.sa_handler = wake};
    sigaction(WAKE_SIGNAL, &action, NULL);
    session->server = pthread_self();
    atomic_store(&session->serving, true);
    int error = pthread_create(&session->stopper, NULL, interrupt_server, session);
    if (error) return error;

    while (!atomic_load_explicit(&session->stopping, memory_order_relaxed)) {
        ssize_t received = session->polling_limit ? receive_polling(session) : receive(session);
        if (received < 0) {
            // ENOENT: the request was interrupted before it was read. ENODEV: unmounted. (libfuse, fuse_session_receive_buf)
            if (errno == EINTR || errno == EAGAIN || errno == ENOENT) continue;
            error = errno == ENODEV ? 0 : errno;
            break;
        }
        if (serve_direct(session, (size_t)received)) session->direct.answered(session->context);
        else serve_by_libfuse(session, (size_t)received);
    }
    atomic_store(&session->serving, false);
    sem_post(&session->stop_requests);
    pthread_join(session->stopper, NULL);
    return error;
}

void cfuse_stop(cfuse_session *session) { sem_post(&session->stop_requests); }

static cfuse_session *_Atomic stopped_by_signals;

static void stop_on_signal(int signal) {
    (void)signal;
    cfuse_session *session = atomic_load(&stopped_by_signals);
    if (session) cfuse_stop(session);
}

int cfuse_stop_on_signals(cfuse_session *session) {
    atomic_store(&stopped_by_signals, session);
    struct sigaction action = {.sa_handler = session ? stop_on_signal : SIG_DFL, .sa_flags = SA_RESTART};
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        if (sigaction(signals[i], &action, NULL) < 0) return errno;
    }
    return 0;
}

#define _GNU_SOURCE
#include "CClientMemory.h"

#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

int cclient_open_process(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

bool cclient_has_ended(int process_descriptor) {
    struct pollfd ended = {.fd = process_descriptor, .events = POLLIN};
    return poll(&ended, 1, 0) > 0;
}

bool cclient_is_memory(int file, size_t *page) {
    struct statfs status;
    if (fstatfs(file, &status) < 0) return false;
    // tmpfs may use huge pages too, but what is gone from it is gone by small ones.
    *page = status.f_type == HUGETLBFS_MAGIC ? (size_t)status.f_bsize : (size_t)sysconf(_SC_PAGESIZE);
    return status.f_type == HUGETLBFS_MAGIC || status.f_type == TMPFS_MAGIC;
}

int cclient_make_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void cclient_raise(int event) {
    uint64_t one = 1;
    if (write(event, &one, sizeof one) < 0) return;
}

void cclient_clear(int event) {
    uint64_t count;
    if (read(event, &count, sizeof count) < 0) return;
}

// The guards: a table without locks, since the signal handler looks into it.

enum { GUARDS = 16384 };

struct guard {
    /// 0: free. Set last, cleared first.
    _Atomic uintptr_t start;
    _Atomic uintptr_t end;
    _Atomic size_t page;
    _Atomic int event;
    atomic_bool lost;
};

static struct guard guards[GUARDS];
static atomic_int guards_used;
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;

/// Puts zeroes in the place of what is gone: the access that met it is repeated, and whoever made it goes on. Leaving it by a long jump
/// instead would skip the releases of all frames in between.
static void on_bus_error(int signal, siginfo_t *info, void *context) {
    int saved = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    int used = atomic_load(&guards_used);
    for (int i = 0; i < used; i++) {
        struct guard *guard = &guards[i];
        uintptr_t start = atomic_load(&guard->start), end = atomic_load(&guard->end);
        if (start == 0 || address < start || address >= end) continue;
        uintptr_t first = start + (address - start) / atomic_load(&guard->page) * atomic_load(&guard->page);
        void *zeroes = mmap(
            (void *)first, end - first, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (zeroes == MAP_FAILED) break;
        atomic_store(&guard->lost, true);
        cclient_raise(atomic_load(&guard->event));
        errno = saved;
        return;
    }
    errno = saved;
    // Not a client's memory: as if there were no handler.
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    }
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGBUS, &action, &previous);
}

int32_t cclient_guard(void *start, size_t count, size_t page, int event) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    pthread_mutex_lock(&guards_lock);
    int32_t number = -1;
    for (int32_t i = 0; i < GUARDS && number < 0; i++) {
        if (atomic_load(&guards[i].start) == 0) number = i;
    }
    if (number >= 0) {
        struct guard *guard = &guards[number];
        atomic_store(&guard->lost, false);
        atomic_store(&guard->end, (uintptr_t)start + count);
        atomic_store(&guard->page, page);
        atomic_store(&guard->event, event);
        atomic_store(&guard->start, (uintptr_t)start);
        if (number >= atomic_load(&guards_used)) atomic_store(&guards_used, number + 1);
    }
    pthread_mutex_unlock(&guards_lock);
    return number;
}

bool cclient_is_lost(int32_t guard) { return atomic_load(&guards[guard].lost); }

void cclient_unguard(int32_t guard) { atomic_store(&guards[guard].start, 0); }

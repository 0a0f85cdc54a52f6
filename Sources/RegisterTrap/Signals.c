// SIGSEGV belongs to this library once there is a region; the program's own handler gets what is none of ours.
#include "Trap.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int (*next_sigaction)(int, const struct sigaction *, struct sigaction *);
static int (*next_sigmask)(int, const sigset_t *, sigset_t *);
static void (*(*next_signal)(int, void (*)(int)))(int);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool active;
// What the program wants done on SIGSEGV: the one of the two that `current` names. Handlers read it, who can't wait for a lock.
static struct sigaction wanted[2];
static atomic_uint current;

static void find_next(void) {
    next_sigaction = (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
    next_sigmask = (int (*)(int, const sigset_t *, sigset_t *))dlsym(RTLD_NEXT, "pthread_sigmask");
    next_signal = (void (*(*)(int, void (*)(int)))(int))dlsym(RTLD_NEXT, "signal");
}

static pthread_once_t found = PTHREAD_ONCE_INIT;

int trap_next_sigaction(int signal, const struct sigaction *action, struct sigaction *previous) {
    pthread_once(&found, find_next);
    return next_sigaction(signal, action, previous);
}

int trap_next_sigmask(int how, const sigset_t *set, sigset_t *previous) {
    pthread_once(&found, find_next);
    return next_sigmask(how, set, previous);
}

trap_lock_state trap_lock(void) {
    trap_lock_state state;
    sigset_t all;
    sigfillset(&all);
    trap_next_sigmask(SIG_SETMASK, &all, &state.mask);
    pthread_mutex_lock(&mutex);
    return state;
}

void trap_unlock(trap_lock_state state) {
    pthread_mutex_unlock(&mutex);
    trap_next_sigmask(SIG_SETMASK, &state.mask, NULL);
}

// A child has one thread, and no other that would give the mutex back.
static trap_lock_state before_fork;
static void prepare_fork(void) {
    trap_lock_state state = trap_lock();
    before_fork = state;
}
static void finish_fork(void) { trap_unlock(before_fork); }
static void finish_fork_in_child(void) {
    trap_execution_after_fork();
    finish_fork();
}

__attribute__((constructor)) static void start(void) {
    pthread_once(&found, find_next);
    pthread_atfork(prepare_fork, finish_fork, finish_fork_in_child);
    // A fault while its signal is blocked kills the process: whoever started us may have blocked it.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    trap_next_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool trap_activate(void) {
    trap_lock_state lock = trap_lock();
    if (!atomic_load(&active) && trap_prepare()) {
        struct sigaction action = {.sa_sigaction = trap_on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        // An access is one step also for the handlers of other signals.
        sigfillset(&action.sa_mask);
        trap_next_sigaction(SIGSEGV, NULL, &wanted[atomic_load(&current)]);
        atomic_store(&active, trap_next_sigaction(SIGSEGV, &action, NULL) == 0);
    }
    bool result = atomic_load(&active);
    trap_unlock(lock);
    return result;
}

static void want(const struct sigaction *action) {
    unsigned next = atomic_load(&current) ^ 1;
    wanted[next] = *action;
    atomic_store(&current, next);
}

static void give_up(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    trap_next_sigaction(SIGSEGV, &action, NULL);
}

void trap_forward(int signal, siginfo_t *info, ucontext_t *context) {
    struct sigaction action = wanted[atomic_load(&current)];
    bool sent = info->si_code <= 0;
    if (!(action.sa_flags & SA_SIGINFO) && (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)) {
        if (sent && action.sa_handler == SIG_IGN) return;
        // The faulting instruction runs again and ends the process where it stands; a signal that was sent has to be sent again.
        give_up();
        if (sent) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
        return;
    }
    if (action.sa_flags & SA_RESETHAND) want(&(struct sigaction){.sa_handler = SIG_DFL});
    // The mask that the kernel would have set, but for SIGSEGV: the program's handler may access registers.
    sigset_t mask;
    sigorset(&mask, &context->uc_sigmask, &action.sa_mask);
    sigdelset(&mask, SIGSEGV);
    trap_next_sigmask(SIG_SETMASK, &mask, NULL);
    if (action.sa_flags & SA_SIGINFO) action.sa_sigaction(signal, info, context);
    else action.sa_handler(signal);
}

TRAP_EXPORT int sigaction(int signal, const struct sigaction *action, struct sigaction *previous) {
    struct sigaction copy;
    if (action) {
        copy = *action;
        sigdelset(&copy.sa_mask, SIGSEGV);
        action = &copy;
    }
    if (signal != SIGSEGV || !atomic_load(&active)) return trap_next_sigaction(signal, action, previous);
    trap_lock_state lock = trap_lock();
    if (previous) *previous = wanted[atomic_load(&current)];
    if (action) want(action);
    trap_unlock(lock);
    return 0;
}

TRAP_EXPORT sighandler_t signal(int signal, sighandler_t handler) {
    pthread_once(&found, find_next);
    if (signal != SIGSEGV || !atomic_load(&active)) return next_signal(signal, handler);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, previous;
    sigaction(signal, &action, &previous);
    return previous.sa_handler;
}

TRAP_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *previous) {
    if (!set || how == SIG_UNBLOCK) return trap_next_sigmask(how, set, previous);
    sigset_t copy = *set;
    sigdelset(&copy, SIGSEGV);
    return trap_next_sigmask(how, &copy, previous);
}

TRAP_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *previous) {
    int error = pthread_sigmask(how, set, previous);
    return error == 0 ? 0 : (errno = error, -1);
}

void trap_complain(const char *format, ...) {
    char line[320];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
    line[length] = '\n';
    // Nothing more can be done if nobody reads it.
    if (write(STDERR_FILENO, line, (size_t)length + 1) < 0) return;
}

// The program's own use of SIGSEGV and of signal masks goes on as without the library.
#define _GNU_SOURCE
#include "Check.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint32_t *registers;
static volatile sig_atomic_t faults, alarms;
static void *page;

// Makes the page there, and uses a register itself.
static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    faults++;
    registers[1] = registers[1] + 1;
    CHECK(info->si_addr == page);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

static void on_alarm(int signal) {
    (void)signal;
    registers[2] = registers[2] + 1;
    alarms++;
}

static int status_of_child(void (*body)(void)) {
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void wild_store(void) {
    signal(SIGSEGV, SIG_DFL);
    *(volatile int *)page = 1;
}

static void sent(void) {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void sent_and_ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    registers[0] = 1;
}

void check_signals(void) {
    registers = (volatile uint32_t *)map_bar(0, PAGE, 0, PROT_READ | PROT_WRITE, NULL);
    page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int status = status_of_child(wild_store);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%#x", status);
    status = status_of_child(sent);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%#x", status);
    CHECK(status_of_child(sent_and_ignored) == 0);

    registers[1] = 0;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, previous, now;
    CHECK(sigaction(SIGSEGV, &action, &previous) == 0 && previous.sa_handler == SIG_DFL, "%p", previous.sa_handler);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == on_fault && now.sa_flags & SA_SIGINFO);
    *(volatile int *)page = 5;
    CHECK(faults == 1 && registers[1] == 1 && *(volatile int *)page == 5);

    // Everything blocked: registers answer all the same.
    sigset_t all, mask;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, &mask) == 0);
    registers[3] = 33;
    CHECK(registers[3] == 33);
    CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0 && registers[3] == 33);
    CHECK(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);

    // A handler that uses registers, in the midst of accesses.
    struct sigaction on_time = {.sa_handler = on_alarm};
    sigfillset(&on_time.sa_mask);
    sigaction(SIGVTALRM, &on_time, NULL);
    sigaction(SIGALRM, &on_time, NULL);
    registers[2] = registers[4] = 0;
    struct itimerval often = {{0, 500}, {0, 500}}, never = {0};
    setitimer(ITIMER_REAL, &often, NULL);
    uint32_t rounds = 0;
    while (alarms < 20) {
        registers[4] = registers[4] + 1;
        rounds++;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(registers[4] == rounds && registers[2] == (uint32_t)alarms);
    sigaction(SIGSEGV, &previous, NULL);
    munmap((void *)registers, PAGE);
}

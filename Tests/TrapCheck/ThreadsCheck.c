// Several threads, and a child of a process with threads.
#define _GNU_SOURCE
#include "Check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 500 };
static volatile uint32_t *registers;
static atomic_bool stop;

static void *count_up(void *argument) {
    volatile uint32_t *own = &registers[16 + (uintptr_t)argument];
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        *own += 1;
        CHECK(*own == i);
    }
    return NULL;
}

// Mappings come and go beside the accesses of others.
static void *map_and_unmap(void *argument) {
    (void)argument;
    while (!atomic_load(&stop)) munmap((void *)map_bar(1, PAGE, 0, PROT_READ, NULL), PAGE);
    return NULL;
}

void check_threads(void) {
    registers = (volatile uint32_t *)map_bar(0, PAGE, 0, PROT_READ | PROT_WRITE, NULL);
    pthread_t threads[THREADS], mapper;
    atomic_store(&stop, false);
    pthread_create(&mapper, NULL, map_and_unmap, NULL);
    for (uintptr_t i = 0; i < THREADS; i++) {
        registers[16 + i] = 0;
        pthread_create(&threads[i], NULL, count_up, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    atomic_store(&stop, true);
    pthread_join(mapper, NULL);
    munmap((void *)registers, PAGE);
}

void check_fork(void) {
    registers = (volatile uint32_t *)map_bar(0, PAGE, 0, PROT_READ | PROT_WRITE, NULL);
    registers[16] = 0;
    pthread_t thread;
    atomic_store(&stop, false);
    pthread_create(&thread, NULL, map_and_unmap, NULL);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            registers[16] += 1;
            munmap((void *)map_bar(1, PAGE, 0, PROT_READ, NULL), PAGE);
            _exit(registers[16] == (uint32_t)i + 1 ? 0 : 1);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "%#x", status);
        CHECK(registers[16] == (uint32_t)i + 1, "the child's accesses reach the same device");
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    munmap((void *)registers, PAGE);
}

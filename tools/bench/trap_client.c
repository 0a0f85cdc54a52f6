// Measures accesses of a register by pread and pwrite, and by a mapping: `trap_client REGISTERS OFFSET MEMORY COUNT` prints nanoseconds per
// access: pread, load, pwrite, store of the register, and load of the memory, a BAR that is mapped.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static volatile uint32_t *map(int file) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) perror("mmap"), exit(1);
    return memory;
}

// Prints the time of an access, after some that aren't counted.
#define MEASURE(access)                                            \
    do {                                                           \
        for (uint32_t i = 0; i < count / 10; i++) access;          \
        double start = now();                                      \
        for (uint32_t i = 0; i < count; i++) access;               \
        printf("%.1f ", (now() - start) / count);                  \
    } while (0)

int main(int arguments, char **argument) {
    if (arguments != 5) return fprintf(stderr, "usage: trap_client REGISTERS OFFSET MEMORY COUNT\n"), 2;
    int registers = open(argument[1], O_RDWR), memory = open(argument[3], O_RDWR);
    if (registers < 0 || memory < 0) return perror("open"), 1;
    off_t offset = strtol(argument[2], NULL, 0);
    uint32_t count = (uint32_t)strtoul(argument[4], NULL, 0), value = 0;
    volatile uint32_t *mapped = map(registers) + offset / 4, *plain = map(memory);
    int failed = 0;
    MEASURE(failed |= pread(registers, &value, 4, offset) != 4);
    MEASURE(value = *mapped);
    MEASURE(failed |= pwrite(registers, &i, 4, offset) != 4);
    MEASURE(*mapped = i);
    MEASURE(value = *plain);
    printf("\n");
    return failed;
}

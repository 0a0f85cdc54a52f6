// What the parts of the trap library share.
#pragma once
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <ucontext.h>

#include <Zydis/Zydis.h>

#if !defined(__x86_64__)
#error "the trap library carries out instructions of x86-64"
#endif

enum { TRAP_PAGE = 4096, TRAP_LONGEST_INSTRUCTION = 15, TRAP_WIDEST_OPERAND = 64 };

// Interposes one of the C library's functions.
#define TRAP_EXPORT __attribute__((visibility("default")))

// Signals.c

// The C library's own functions, which this library covers.
int trap_next_sigaction(int signal, const struct sigaction *action, struct sigaction *previous);
int trap_next_sigmask(int how, const sigset_t *set, sigset_t *previous);

// From now on faults come to `trap_on_fault`. Once is enough; false and a complaint if that can't be.
bool trap_activate(void);

// Does with a fault what the program wants done with it.
void trap_forward(int signal, siginfo_t *info, ucontext_t *context);

// Keeps other threads, and signals of this one, out of the tables of this library.
typedef struct { sigset_t mask; } trap_lock_state;
trap_lock_state trap_lock(void);
void trap_unlock(trap_lock_state state);

// One line on standard error, by a single write.
void trap_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Regions.c: the program's memory that stands for BARs

typedef struct {
    uintptr_t start, end;
    // The BAR's file, and where in it `start` is.
    int file;
    uint64_t offset;
    // PROT_READ and PROT_WRITE, as the program has asked.
    int protection;
} trap_region;

// The region of an address. For signal handlers, too.
bool trap_find(uintptr_t address, trap_region *region);
// Whether anything between two addresses is in a region.
bool trap_overlaps(uintptr_t start, uintptr_t end);
// Adds a region, with a descriptor of its own for `file`; false with errno if there are too many.
bool trap_add(trap_region region);
// Forgets what of the regions is between two addresses.
void trap_remove(uintptr_t start, uintptr_t end);
// Changes the protection of what of the regions is between two addresses.
void trap_protect(uintptr_t start, uintptr_t end, int protection);

// A descriptor for the same open file that stays out of the way of the program's own; -1 with errno.
int trap_keep_file(int file);

// Reads or writes part of a BAR, in naturally aligned accesses of up to 8 bytes, from low to high. Where nobody answers all ones are read
// and writes are lost, as on a bus.
void trap_transfer(int file, uint64_t offset, void *bytes, size_t size, bool writing);

// Fault.c

void trap_on_fault(int signal, siginfo_t *info, void *context);

typedef struct {
    ZydisDecodedInstruction code;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
} trap_instruction;

// A general-purpose register of the program, by its number in instructions (0 is RAX, 7 is RDI).
greg_t *trap_register(ucontext_t *context, unsigned number);
// Writes the low `size` bytes of a register; 4 bytes clear the upper half.
void trap_set_register(greg_t *value, uint64_t bytes, unsigned size);
// Moves on after one step of a string instruction, with `source` (RSI) and `destination` (RDI) as far as they take part: to the next step
// if there is one, else behind the instruction.
void trap_step_string(ucontext_t *context, const trap_instruction *instruction, unsigned size, bool source, bool destination);
// Says that an instruction can't be carried out on a register, and gives false.
bool trap_refuse(const ucontext_t *context, const trap_instruction *instruction, const char *why);

// Execute.c: one instruction, on a copy of its memory operand

bool trap_prepare(void);
void trap_execution_after_fork(void);
// Carries out an instruction with the program's registers. Its memory operand is at `address`, in `region`.
bool trap_execute(ucontext_t *context, const trap_instruction *instruction, const ZydisDecodedOperand *operand, uintptr_t address,
                  const trap_region *region);

// Ports.c

bool trap_is_port_instruction(const trap_instruction *instruction);
// Carries out IN, OUT, INS or OUTS; false if the program has no right to the port.
bool trap_access_port(ucontext_t *context, const trap_instruction *instruction);

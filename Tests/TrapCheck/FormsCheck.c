// Each form once on plain memory and once on the card, at the same address: registers, flags, vectors and memory must come out alike,
// and the card must have seen the right accesses.
#define _GNU_SOURCE
#include "Check.h"
#include "Forms.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct state {
    uint64_t registers[16], flags, padding[7];
    uint8_t vectors[4][64], end[64];
};
_Static_assert(sizeof(struct state) == 512, "as Registers.S has it");
extern struct state state_in, state_out;
extern uint32_t vector_bytes;
void run_form(void (*form)(void));

enum { ANY = 0, AVX = 32, AVX512 = 64 };
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
struct form { int needs; const char *text, *accesses; void (*run)(void); };

// The forms as functions, `form_0` and so on, in the order of the list.
#define DEFINE(needs, text, accesses)                                                                                     \
    ".pushsection .text\n1: call load_state\n" text "\njmp store_state\n.popsection\n.quad 1b\n"
__asm__(".pushsection .data.rel.ro, \"aw\"\n.balign 8\nform_functions:\n" FORMS(DEFINE) ".popsection\n");
extern void (*const form_functions[])(void);

#define DESCRIBE(needs, text, accesses) {needs, text, accesses, NULL},
static const struct form forms[] = {FORMS(DESCRIBE)};

// Below 4 GiB, for addresses of 32 bits; operands begin OPERAND bytes into the second page, and CONTENT bytes are compared.
static uint8_t *const place = (uint8_t *)0x20000000;
enum { OPERAND = PAGE + 256, CONTENT = 1024, CONTENT_AT = PAGE };

static void set_up(unsigned seed, uint8_t *plain) {
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 16; i++) state_in.registers[i] = random = random * 6364136223846793005u + 1442695040888963407u;
    for (size_t i = 0; i < sizeof state_in.vectors; i++) ((uint8_t *)state_in.vectors)[i] = (uint8_t)(17 * i + seed);
    // Carry set in every other run, the direction upwards.
    state_in.flags = 0x202 | (seed & 1);
    uint64_t operand = (uint64_t)(place + OPERAND);
    state_in.registers[RBX] = state_in.registers[RSI] = state_in.registers[12] = state_in.registers[13] = operand;
    state_in.registers[RBP] = operand - 64;
    state_in.registers[RCX] = 3;
    state_in.registers[RDI] = (uint64_t)plain;
}

static bool compare(const struct form *form, const struct state *reference, const uint8_t *memory, const uint8_t *content) {
    bool same = true;
    for (int i = 0; i < 16; i++) {
        if (reference->registers[i] == state_out.registers[i]) continue;
        same = false;
        fprintf(stderr, "%s: register %d is %#lx, expected %#lx\n", form->text, i, state_out.registers[i], reference->registers[i]);
    }
    if (reference->flags != state_out.flags) {
        same = false;
        fprintf(stderr, "%s: flags are %#lx, expected %#lx\n", form->text, state_out.flags, reference->flags);
    }
    for (int i = 0; i < 4; i++) {
        if (memcmp(reference->vectors[i], state_out.vectors[i], vector_bytes) == 0) continue;
        same = false;
        fprintf(stderr, "%s: vector register %d differs\n", form->text, i);
    }
    for (int i = 0; i < CONTENT; i++) {
        if (memory[i] == content[i]) continue;
        same = false;
        fprintf(stderr, "%s: byte %d is %#x, expected %#x\n", form->text, i + CONTENT_AT - OPERAND, content[i], memory[i]);
    }
    return same;
}

void check_forms(void) {
    __builtin_cpu_init();
    vector_bytes = __builtin_cpu_supports("avx512f") ? 64 : __builtin_cpu_supports("avx2") ? 32 : 16;
    static uint8_t start[CONTENT], plain[2][64], before[64];
    for (int i = 0; i < CONTENT; i++) start[i] = (uint8_t)(i * 37 + 11);
    int card = open_bar(0), failed = 0, run = 0;
    for (unsigned n = 0; n < sizeof forms / sizeof *forms; n++) {
        const struct form *form = &forms[n];
        if ((uint32_t)form->needs > vector_bytes) continue;
        // Away from the ends, for strings that go down.
        for (int i = 0; i < 64; i++) plain[0][i] = before[i] = (uint8_t)(200 - i);
        set_up(n, plain[0] + 24);
        uint8_t *memory = mmap(place, BAR0_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        CHECK(memory == place);
        memcpy(memory + CONTENT_AT, start, CONTENT);
        run_form(form_functions[n]);
        struct state reference = state_out;
        static uint8_t expected[CONTENT], found[CONTENT];
        memcpy(expected, memory + CONTENT_AT, CONTENT);
        memcpy(plain[1], plain[0], 64);
        memcpy(plain[0], before, 64);

        map_bar(0, BAR0_BYTES, 0, PROT_READ | PROT_WRITE, place);
        CHECK(pwrite(card, start, CONTENT, CONTENT_AT) == CONTENT);
        accesses();
        run_form(form_functions[n]);
        bool right = were_accesses(0, OPERAND, form->accesses);
        CHECK(pread(card, found, CONTENT, CONTENT_AT) == CONTENT);
        right &= compare(form, &reference, expected, found);
        right &= memcmp(plain[0], plain[1], 64) == 0;
        if (!right) fprintf(stderr, "%s: not as on memory\n", form->text);
        failed += !right;
        run++;
    }
    munmap(place, BAR0_BYTES);
    CHECK(failed == 0, "%d of %d forms", failed, run);
    printf("forms: %d, vector registers of %u bytes\n", run, vector_bytes);
}

// Carries out any instruction with one memory operand: the operand's bytes are read from the device, a copy of the instruction that
// names a buffer in the operand's place runs with the program's registers, and what it wrote goes to the device. So flags, partial
// registers, vector registers and whatever else an instruction does are the processor's own work.
#include "Trap.h"
#include "Execute.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

// Of an execution: one for each that can be under way at a time.
struct cell {
    greg_t registers[16];
    uint64_t flags;
    const void *entry, *return_to;
    uint64_t stack;
    // The vector and x87 registers of the signal frame, if the instruction has one; and which parts of them.
    void *state;
    uint64_t features;
    atomic_bool busy;
    _Alignas(TRAP_WIDEST_OPERAND) uint8_t operand[TRAP_WIDEST_OPERAND];
};
_Static_assert(offsetof(struct cell, flags) == CELL_FLAGS && offsetof(struct cell, entry) == CELL_ENTRY, "as Enter.S has it");
_Static_assert(offsetof(struct cell, return_to) == CELL_RETURN && offsetof(struct cell, stack) == CELL_STACK, "as Enter.S has it");
_Static_assert(offsetof(struct cell, state) == CELL_STATE && offsetof(struct cell, features) == CELL_FEATURES, "as Enter.S has it");
_Static_assert(REG_R8 == 0 && REG_RDI * 8 == CELL_RDI && REG_RSP * 8 == CELL_RSP, "as Enter.S has it");

enum { CELLS = 32, CODE_BYTES = 64, INSTRUCTION_AT = 7 };
// CF, PF, AF, ZF, SF, DF and OF: those that instructions make and use.
static const uint64_t STATUS_FLAGS = 0xcd5;
// x87, SSE, AVX and the three of AVX-512, of the features that XSAVE numbers.
static const uint64_t VECTOR_FEATURES = 0xe7;
// The kernel's mark in a signal frame that XSAVE has made, and where it is (<asm/sigcontext.h>).
enum { FRAME_MARK = 0x46505853, FRAME_MARK_AT = 464, FRAME_FEATURES_AT = 472 };

void trap_enter(struct cell *cell);
extern const char trap_leave[];

static struct cell *cells;
// CODE_BYTES for each cell, near enough to be addressed relative to RIP.
static uint8_t *code;

static int32_t distance(const void *target, const uint8_t *end) { return (int32_t)((const uint8_t *)target - end); }

// What stands around each copied instruction: it loads RDI before, and after it saves RDI and returns.
static void write_frame(struct cell *cell, uint8_t *at) {
    // mov rdi, [cell]; room for the instruction; mov [cell], rdi; lea rdi, [cell]; jmp [rdi + return]
    static const uint8_t load[] = {0x48, 0x8b, 0x3d}, save[] = {0x48, 0x89, 0x3d}, address[] = {0x48, 0x8d, 0x3d}, jump[] = {0xff, 0xa7};
    int32_t offset;
#define PUT(opcode, value)                        \
    do {                                          \
        memcpy(at, opcode, sizeof opcode);        \
        at += sizeof opcode + 4;                  \
        offset = (value);                         \
        memcpy(at - 4, &offset, 4);               \
    } while (0)
    PUT(load, distance(&cell->registers[REG_RDI], at));
    at += TRAP_LONGEST_INSTRUCTION;
    PUT(save, distance(&cell->registers[REG_RDI], at));
    PUT(address, distance(cell, at));
    PUT(jump, CELL_RETURN);
#undef PUT
}

bool trap_prepare(void) {
    size_t data = (CELLS * sizeof *cells + TRAP_PAGE - 1) & ~(size_t)(TRAP_PAGE - 1), all = data + TRAP_PAGE;
    _Static_assert(CELLS * CODE_BYTES <= TRAP_PAGE, "the code has one page");
    uint8_t *memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + data, TRAP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        trap_complain("outrigger: registers can't be mapped: this system permits no memory that is written and executed");
        return false;
    }
    cells = (struct cell *)memory;
    code = memory + data;
    for (int i = 0; i < CELLS; i++) {
        cells[i].entry = code + i * CODE_BYTES;
        cells[i].return_to = trap_leave;
        write_frame(&cells[i], code + i * CODE_BYTES);
    }
    return true;
}

// A holder runs with all signals blocked, so it always comes to its end.
static struct cell *take_cell(void) {
    for (;;) {
        for (int i = 0; i < CELLS; i++) {
            if (!atomic_exchange_explicit(&cells[i].busy, true, memory_order_acquire)) return &cells[i];
        }
        sched_yield();
    }
}

void trap_execution_after_fork(void) {
    for (int i = 0; cells && i < CELLS; i++) atomic_store(&cells[i].busy, false);
}

static bool is_plain_register(ZydisRegister value) {
    switch (ZydisRegisterGetClass(value)) {
    case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
    case ZYDIS_REGCLASS_FLAGS: case ZYDIS_REGCLASS_IP: case ZYDIS_REGCLASS_SEGMENT:
        return true;
    default:
        return false;
    }
}

static bool needs_vectors(const trap_instruction *instruction) {
    for (int i = 0; i < instruction->code.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && !is_plain_register(operand->reg.value)) return true;
    }
    return false;
}

// Why an instruction's memory accesses are other than its operand says; NULL if they aren't.
static const char *objection(const trap_instruction *instruction, const ZydisDecodedOperand *operand) {
    const ZydisDecodedInstruction *decoded = &instruction->code;
    switch (decoded->meta.category) {
    case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_UNCOND_BR: case ZYDIS_CATEGORY_COND_BR:
        return "it goes elsewhere";
    default:
        break;
    }
    if (operand->mem.type != ZYDIS_MEMOP_TYPE_MEM || operand->size == 0 || operand->size / 8 > TRAP_WIDEST_OPERAND) {
        return "its operand is no single value";
    }
    if (decoded->avx.mask.reg != ZYDIS_REGISTER_NONE && decoded->avx.mask.reg != ZYDIS_REGISTER_K0) return "it is masked";
    switch (decoded->mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
        return "it is masked";
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC:
        // The register is a distance in bits from the operand.
        return instruction->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? "its operand is a string of bits" : NULL;
    default:
        return NULL;
    }
}

// Copies an instruction so that its memory operand is the cell's. With mod 0 and r/m 5 the operand is relative to RIP, whatever the
// prefixes' extensions of base and index say (AMD64 Architecture Programmer's Manual, volume 3, section 1.7). 0 if that takes too long a
// copy, else its length.
static size_t copy_instruction(struct cell *cell, uint8_t *to, const uint8_t *from, const ZydisDecodedInstruction *decoded) {
    const uint8_t *end = from + decoded->length;
    if (!(decoded->attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
        // MOV with the address itself in the instruction.
        if (decoded->raw.disp.size != 64) return 0;
        const void *operand = cell->operand;
        memcpy(to, from, decoded->length);
        memcpy(to + decoded->raw.disp.offset, &operand, sizeof operand);
        return decoded->length;
    }
    size_t mode = decoded->raw.modrm.offset;
    const uint8_t *rest = from + mode + 1;
    if (decoded->attributes & ZYDIS_ATTRIB_HAS_SIB) rest = from + decoded->raw.sib.offset + 1;
    if (decoded->raw.disp.size) rest = from + decoded->raw.disp.offset + decoded->raw.disp.size / 8;
    size_t length = mode + 5 + (size_t)(end - rest);
    if (length > TRAP_LONGEST_INSTRUCTION) return 0;
    memcpy(to, from, mode);
    for (int i = 0; i < decoded->raw.prefix_count; i++) {
        // Addresses of 32 bits; DS in its place means nothing.
        if (to[i] == 0x67) to[i] = 0x3e;
    }
    to[mode] = (uint8_t)((from[mode] & 0x38) | 5);
    int32_t displacement = distance(cell->operand, to + length);
    memcpy(to + mode + 1, &displacement, 4);
    memcpy(to + mode + 5, rest, (size_t)(end - rest));
    return length;
}

// Runs the copied instruction on the program's registers.
static bool run(struct cell *cell, ucontext_t *context, const trap_instruction *instruction) {
    greg_t *registers = context->uc_mcontext.gregs;
    memcpy(cell->registers, registers, sizeof cell->registers);
    cell->flags = (uint64_t)registers[REG_EFL] & STATUS_FLAGS;
    cell->state = NULL;
    if (needs_vectors(instruction)) {
        uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
        uint32_t mark;
        memcpy(&mark, frame + FRAME_MARK_AT, sizeof mark);
        if (mark != FRAME_MARK) return false;
        memcpy(&cell->features, frame + FRAME_FEATURES_AT, sizeof cell->features);
        cell->features &= VECTOR_FEATURES;
        cell->state = frame;
    }
    trap_enter(cell);
    memcpy(registers, cell->registers, sizeof cell->registers);
    registers[REG_EFL] = (greg_t)(((uint64_t)registers[REG_EFL] & ~STATUS_FLAGS) | (cell->flags & STATUS_FLAGS));
    return true;
}

bool trap_execute(ucontext_t *context, const trap_instruction *instruction, const ZydisDecodedOperand *operand, uintptr_t address,
                  const trap_region *region) {
    const char *why = objection(instruction, operand);
    if (why) return trap_refuse(context, instruction, why);
    struct cell *cell = take_cell();
    uint8_t *to = code + (cell - cells) * CODE_BYTES + INSTRUCTION_AT;
    const uint8_t *from = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
    size_t length = copy_instruction(cell, to, from, &instruction->code), size = operand->size / 8;
    bool done = length > 0;
    if (done) {
        memset(to + length, 0x90, TRAP_LONGEST_INSTRUCTION - length);
        uint64_t offset = region->offset + (address - region->start);
        if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) trap_transfer(region->file, offset, cell->operand, size, false);
        done = run(cell, context, instruction);
        // A locked instruction writes also where it changes nothing, CMPXCHG among them.
        bool writes = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        if (done && writes) trap_transfer(region->file, offset, cell->operand, size, true);
    }
    atomic_store_explicit(&cell->busy, false, memory_order_release);
    if (!done) return trap_refuse(context, instruction, length ? "vector registers are out of reach" : "it is too long");
    context->uc_mcontext.gregs[REG_RIP] += instruction->code.length;
    return true;
}

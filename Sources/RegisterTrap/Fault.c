// What a fault means: which instruction it was, and what part of a device it wanted.
#include "Trap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

// Numbers of exceptions (AMD64 Architecture Programmer's Manual, volume 2, section 8.2).
enum { GENERAL_PROTECTION = 13, PAGE_FAULT = 14 };
enum { DIRECTION_FLAG = 1 << 10 };

greg_t *trap_register(ucontext_t *context, unsigned number) {
    static const uint8_t places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return &context->uc_mcontext.gregs[places[number & 15]];
}

void trap_set_register(greg_t *value, uint64_t bytes, unsigned size) {
    if (size == 4) *value = 0;
    memcpy(value, &bytes, size);
}

void trap_step_string(ucontext_t *context, const trap_instruction *instruction, unsigned size, bool source, bool destination) {
    greg_t *registers = context->uc_mcontext.gregs;
    greg_t step = registers[REG_EFL] & DIRECTION_FLAG ? -(greg_t)size : (greg_t)size;
    if (source) registers[REG_RSI] += step;
    if (destination) registers[REG_RDI] += step;
    bool repeats = instruction->code.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    if (repeats && --registers[REG_RCX] != 0) return;
    registers[REG_RIP] += instruction->code.length;
}

bool trap_refuse(const ucontext_t *context, const trap_instruction *instruction, const char *why) {
    trap_complain("outrigger: %s at 0x%llx can't be carried out on a device register: %s",
                  ZydisMnemonicGetString(instruction->code.mnemonic), (unsigned long long)context->uc_mcontext.gregs[REG_RIP], why);
    return false;
}

static bool decode(const ucontext_t *context, trap_instruction *instruction) {
    static const ZydisDecoder decoder = {.machine_mode = ZYDIS_MACHINE_MODE_LONG_64, .stack_width = ZYDIS_STACK_WIDTH_64};
    uintptr_t at = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    // The next page may not be there; it is, if the instruction goes on in it.
    size_t room = TRAP_PAGE - (at & (TRAP_PAGE - 1));
    ZyanStatus status = ZYDIS_STATUS_NO_MORE_DATA;
    if (room < TRAP_LONGEST_INSTRUCTION) {
        status = ZydisDecoderDecodeFull(&decoder, (const void *)at, room, &instruction->code, instruction->operands);
    }
    if (status == ZYDIS_STATUS_NO_MORE_DATA) {
        status = ZydisDecoderDecodeFull(&decoder, (const void *)at, TRAP_LONGEST_INSTRUCTION, &instruction->code, instruction->operands);
    }
    return ZYAN_SUCCESS(status);
}

// The address of a memory operand; false if a segment has a say in it.
static bool effective_address(ucontext_t *context, const trap_instruction *instruction, const ZydisDecodedOperand *operand,
                              uintptr_t *address) {
    if (operand->mem.segment == ZYDIS_REGISTER_FS || operand->mem.segment == ZYDIS_REGISTER_GS) return false;
    uint64_t sum = operand->mem.disp.has_displacement ? (uint64_t)operand->mem.disp.value : 0;
    if (operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_EIP) {
        sum += (uint64_t)context->uc_mcontext.gregs[REG_RIP] + instruction->code.length;
    } else if (operand->mem.base != ZYDIS_REGISTER_NONE) {
        sum += (uint64_t)*trap_register(context, (unsigned)ZydisRegisterGetId(operand->mem.base));
    }
    if (operand->mem.index != ZYDIS_REGISTER_NONE) {
        sum += (uint64_t)*trap_register(context, (unsigned)ZydisRegisterGetId(operand->mem.index)) * operand->mem.scale;
    }
    *address = instruction->code.address_width == 32 ? (uint32_t)sum : sum;
    return true;
}

// Whether all of an operand is in one region that permits the access.
static bool find_operand(uintptr_t address, size_t size, bool writes, trap_region *region) {
    if (!trap_find(address, region) || region->end - address < size) return false;
    return region->protection & (writes ? PROT_WRITE : PROT_READ | PROT_WRITE);
}

// One side of a string instruction, in a region or in plain memory.
static bool move_string_element(uintptr_t address, void *bytes, unsigned size, bool writes) {
    trap_region region;
    if (find_operand(address, size, writes, &region)) {
        trap_transfer(region.file, region.offset + (address - region.start), bytes, size, writes);
    } else if (trap_overlaps(address, address + size)) {
        return false;
    } else if (writes) {
        memcpy((void *)address, bytes, size);
    } else {
        memcpy(bytes, (const void *)address, size);
    }
    return true;
}

// One step of MOVS, STOS or LODS. A repeated one faults again for the next, so that signals get in between, as in hardware.
static bool access_string(ucontext_t *context, const trap_instruction *instruction, bool loads, bool stores) {
    unsigned size = instruction->operands[0].size / 8;
    if (instruction->code.address_width != 64) return trap_refuse(context, instruction, "its addresses have 32 bits");
    greg_t *registers = context->uc_mcontext.gregs;
    uint64_t element = (uint64_t)registers[REG_RAX];
    if (loads && !move_string_element((uintptr_t)registers[REG_RSI], &element, size, false)) return false;
    if (stores && !move_string_element((uintptr_t)registers[REG_RDI], &element, size, true)) return false;
    if (!stores) trap_set_register(&registers[REG_RAX], element, size);
    trap_step_string(context, instruction, size, loads, stores);
    return true;
}

static bool access_register(ucontext_t *context, const trap_instruction *instruction) {
    switch (instruction->code.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB: case ZYDIS_MNEMONIC_MOVSW: case ZYDIS_MNEMONIC_MOVSQ:
        return access_string(context, instruction, true, true);
    case ZYDIS_MNEMONIC_MOVSD:
        // The string instruction and the scalar move share a name.
        if (instruction->code.meta.category != ZYDIS_CATEGORY_STRINGOP) break;
        return access_string(context, instruction, true, true);
    case ZYDIS_MNEMONIC_STOSB: case ZYDIS_MNEMONIC_STOSW: case ZYDIS_MNEMONIC_STOSD: case ZYDIS_MNEMONIC_STOSQ:
        return access_string(context, instruction, false, true);
    case ZYDIS_MNEMONIC_LODSB: case ZYDIS_MNEMONIC_LODSW: case ZYDIS_MNEMONIC_LODSD: case ZYDIS_MNEMONIC_LODSQ:
        return access_string(context, instruction, true, false);
    default:
        break;
    }
    for (int i = 0; i < instruction->code.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) continue;
        uintptr_t address;
        if (!effective_address(context, instruction, operand, &address)) {
            return trap_refuse(context, instruction, "its address is relative to a segment");
        }
        trap_region region;
        size_t size = operand->size / 8;
        bool writes = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        return find_operand(address, size, writes, &region) && trap_execute(context, instruction, operand, address, &region);
    }
    return trap_refuse(context, instruction, "it has no memory operand of its own");
}

void trap_on_fault(int signal, siginfo_t *info, void *argument) {
    int error = errno;
    ucontext_t *context = argument;
    greg_t exception = context->uc_mcontext.gregs[REG_TRAPNO];
    trap_instruction instruction;
    trap_region region;
    bool done = false;
    if (info->si_code > 0 && exception == PAGE_FAULT && trap_find((uintptr_t)info->si_addr, &region)) {
        done = decode(context, &instruction) && access_register(context, &instruction);
    } else if (info->si_code > 0 && exception == GENERAL_PROTECTION && decode(context, &instruction)) {
        done = trap_is_port_instruction(&instruction) && trap_access_port(context, &instruction);
    }
    if (!done) trap_forward(signal, info, context);
    errno = error;
}

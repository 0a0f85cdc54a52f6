// Where Execute.c and Enter.S find what in a cell.
#pragma once
// The general-purpose registers in the order of <sys/ucontext.h>'s gregs: R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP.
#define CELL_R8 0
#define CELL_RDI 64
#define CELL_RSI 72
#define CELL_RBP 80
#define CELL_RBX 88
#define CELL_RDX 96
#define CELL_RAX 104
#define CELL_RCX 112
#define CELL_RSP 120
#define CELL_FLAGS 128
#define CELL_ENTRY 136
#define CELL_RETURN 144
#define CELL_STACK 152
#define CELL_STATE 160
#define CELL_FEATURES 168

/* Runs a table of programs one after the other and records what became of each. The same memory image runs on the hart
 * under test and on QEMU's virt machine.
 *
 * Table entry: entry point, result area, initial x1...x31 (33 words). The table ends with an entry point of 0.
 * Result area: traps, x1...x31, mstatus, mepc, mcause, mtval, mie, mcounteren, pmpcfg0, pmpaddr0...3, then a ring of 256 traps
 * of 4 words (mcause, mtval, mepc, mstatus).
 *
 * A program ends with the illegal instruction END. The illegal instructions MARKER stand for accesses that QEMU would do and
 * the hart traps (misaligned ones): entry n of the marker table has the mcause and mtval that are due.                     */

	.equ	END, 0x0000002b
	.equ	MARKER_OPCODE, 0x0b
	.equ	TABLE, 0x80002000
	.equ	MARKERS, 0x80080000
	.equ	RAM_SIZE, 0x04000000

	.equ	CURSOR, 0
	.equ	RESULT, 4
	.equ	SAVED_X31, 8
	.equ	SAVED_X30, 12
	.equ	SAVED_X29, 16
	.equ	SAVED_X28, 20
	.equ	SAVED_X27, 24

	.option norvc
	.section .text.start, "ax"
	.globl	_start
_start:	/* QEMU has a second hart: only then does it carry out atomics as such, with the exceptions of a store. */
	csrr	t0, mhartid
	beqz	t0, 1f
2:	wfi
	j	2b
1:	/* No timer interrupt on QEMU. */
	li	t0, 0x02004000
	li	t1, -1
	sw	t1, 4(t0)
	sw	t1, 0(t0)
	la	t0, handler
	csrw	mtvec, t0
	/* The register that ends the run, RAM open to all, and nothing else for anybody. */
	li	t0, (0x00100000 >> 2) | 0x1ff
	csrw	pmpaddr12, t0
	li	t0, (0x80000000 >> 2) | (RAM_SIZE / 8 - 1)
	csrw	pmpaddr14, t0
	li	t0, -1
	csrw	pmpaddr15, t0
	li	t0, 0x981f009b
	csrw	pmpcfg3, t0
	la	s0, context
	li	t0, TABLE
	sw	t0, CURSOR(s0)

program:
	la	s0, context
	lw	s1, CURSOR(s0)
	lw	t0, 0(s1)
	beqz	t0, finish
	csrw	mepc, t0
	lw	t1, 4(s1)
	sw	t1, RESULT(s0)
	sw	zero, 0(t1)
	addi	t0, s1, 33 * 4
	sw	t0, CURSOR(s0)
	li	t0, 0x1800
	csrw	mstatus, t0
	csrw	mie, zero
	csrw	mcause, zero
	csrw	mtval, zero
	csrw	mcounteren, zero
	csrw	pmpcfg0, zero
	csrw	pmpaddr0, zero
	csrw	pmpaddr1, zero
	csrw	pmpaddr2, zero
	csrw	pmpaddr3, zero
	csrw	mscratch, s0
	sc.w	t0, zero, (s0)
	addi	s1, s1, 4
	.irp	n, 1,2,3,4,5,6,7,8,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	lw	x\n, 4 * \n(s1)
	.endr
	lw	s1, 4 * 9(s1)
	mret

	.p2align 2
handler:
	csrrw	x31, mscratch, x31
	sw	x30, SAVED_X30(x31)
	sw	x29, SAVED_X29(x31)
	sw	x28, SAVED_X28(x31)
	sw	x27, SAVED_X27(x31)
	csrr	x30, mscratch
	sw	x30, SAVED_X31(x31)
	csrw	mscratch, x31
	csrr	x30, mcause
	csrr	x29, mtval
	li	x28, 2
	bne	x30, x28, record
	li	x28, END
	beq	x29, x28, end
	andi	x28, x29, 0x7f
	li	x27, MARKER_OPCODE
	bne	x28, x27, record
	srli	x28, x29, 12
	slli	x28, x28, 3
	li	x27, MARKERS
	add	x28, x28, x27
	lw	x30, 0(x28)
	lw	x29, 4(x28)
	csrw	mcause, x30
	csrw	mtval, x29
record:
	lw	x28, RESULT(x31)
	lw	x27, 0(x28)
	addi	x27, x27, 1
	sw	x27, 0(x28)
	andi	x27, x27, 255
	slli	x27, x27, 4
	add	x28, x28, x27
	sw	x30, 256(x28)
	sw	x29, 260(x28)
	csrr	x27, mepc
	sw	x27, 264(x28)
	csrr	x29, mstatus
	sw	x29, 268(x28)
	li	x28, 8
	bne	x30, x28, 1f
	/* ecall from U-mode: go on in M-mode. */
	li	x28, 0x1800
	csrs	mstatus, x28
	j	skip
1:	li	x28, 1
	bne	x30, x28, skip
	/* Nothing to fetch outside RAM: return from the jump there. */
	li	x28, 0x80000000
	sub	x28, x27, x28
	li	x29, RAM_SIZE
	bltu	x28, x29, skip
	csrw	mepc, x1
	j	resume
skip:	lhu	x28, 0(x27)
	andi	x28, x28, 3
	addi	x28, x28, -3
	addi	x27, x27, 2
	bnez	x28, 1f
	addi	x27, x27, 2
1:	csrw	mepc, x27
resume:
	lw	x30, SAVED_X30(x31)
	lw	x29, SAVED_X29(x31)
	lw	x28, SAVED_X28(x31)
	lw	x27, SAVED_X27(x31)
	lw	x31, SAVED_X31(x31)
	mret

end:	lw	x30, RESULT(x31)
	.irp	n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26
	sw	x\n, 4 * \n(x30)
	.endr
	lw	t0, SAVED_X27(x31)
	sw	t0, 4 * 27(x30)
	lw	t0, SAVED_X28(x31)
	sw	t0, 4 * 28(x30)
	lw	t0, SAVED_X29(x31)
	sw	t0, 4 * 29(x30)
	lw	t0, SAVED_X30(x31)
	sw	t0, 4 * 30(x30)
	lw	t0, SAVED_X31(x31)
	sw	t0, 4 * 31(x30)
	.set	offset, 128
	.irp	number, mstatus, mepc, mcause, mtval, mie, mcounteren, pmpcfg0, pmpaddr0, pmpaddr1, pmpaddr2, pmpaddr3
	csrr	t0, \number
	sw	t0, offset(x30)
	.set	offset, offset + 4
	.endr
	/* MPRV would make the next loads those of U-mode. */
	li	t0, 0x20000
	csrc	mstatus, t0
	j	program

finish:	li	t0, 0x00100000
	li	t1, 0x5555
	sw	t1, 0(t0)
1:	j	1b

	.data
	.p2align 6
context: .space 64

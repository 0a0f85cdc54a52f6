/* Start and end of a benchmark's guest program, with PMP and a timer interrupt every `interval` ticks of mtime. It needs what
 * QEMU's virt machine and the device both have: memory at 0x80000000, a CLINT at 0x02000000, and, on the device put there by the
 * benchmark, a register at 0x00100000 that ends the run. */

	.equ	MTIMECMP, 0x02004000
	.equ	MTIME, 0x0200bff8
	.section .text.start, "ax"
	.globl _start
_start:
	la	sp, __stack_top
	/* Locked: code can't be written, and nothing but code executed. */
	la	t0, _start
	srli	t0, t0, 2
	csrw	pmpaddr0, t0
	la	t0, __text_end
	srli	t0, t0, 2
	csrw	pmpaddr1, t0
	li	t0, -1
	csrw	pmpaddr2, t0
	li	t0, 0x9b8d8b
	csrw	pmpcfg0, t0
	la	t0, trap
	csrw	mtvec, t0
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sw	zero, 0(t0)
	addi	t0, t0, 4
	j	1b
2:	call	rearm
	li	t0, 0x80
	csrw	mie, t0
	csrsi	mstatus, 8
	j	main

rearm:	/* next timer interrupt; changes t0, t1 and t2 */
	li	t0, MTIME
	lw	t1, 0(t0)
	lw	t2, 4(t0)
	lw	t0, interval
	add	t1, t1, t0
	sltu	t0, t1, t0
	add	t2, t2, t0
	li	t0, MTIMECMP
	sw	t1, 0(t0)
	sw	t2, 4(t0)
	ret

	.globl finish
finish:	/* leaves instructions and cycles since the reset in `retired` and `cycles` */
	csrci	mstatus, 8
	la	t0, retired
	csrr	t1, minstret
	sw	t1, 0(t0)
	csrr	t1, minstreth
	sw	t1, 4(t0)
	csrr	t1, mcycle
	sw	t1, 8(t0)
	csrr	t1, mcycleh
	sw	t1, 12(t0)
	li	t0, 0x100000
	li	t1, 0x5555
	sw	t1, 0(t0)
3:	j	3b

	.p2align 2
trap:
	addi	sp, sp, -16
	sw	t0, 0(sp)
	sw	t1, 4(sp)
	sw	t2, 8(sp)
	sw	ra, 12(sp)
	csrr	t0, mcause
	li	t1, 0x80000007
	bne	t0, t1, unexpected
	call	rearm
	la	t0, interrupts
	lw	t1, 0(t0)
	addi	t1, t1, 1
	sw	t1, 0(t0)
	lw	t0, 0(sp)
	lw	t1, 4(sp)
	lw	t2, 8(sp)
	lw	ra, 12(sp)
	addi	sp, sp, 16
	mret

unexpected:
	li	t0, 0x100000
	li	t1, 0x13333
	sw	t1, 0(t0)
4:	j	4b

	.bss
	.globl interrupts, retired, cycles
	.p2align 2
interrupts: .space 4
retired: .space 8
cycles:	.space 8

	.data
	.globl interval
	.p2align 2
interval: .word 100000

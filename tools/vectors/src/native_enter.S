/*
 * The crossing from 64-bit code to a 32-bit (or 16-bit) code segment and back.
 * Offsets are those of struct entry in native.c.
 */
    .set ENTRY_GPR, 0
    .set ENTRY_SEGMENT, 32
    .set ENTRY_IRET, 48
    .set ENTRY_FX, 96

    .text
    .globl native_enter
    .type native_enter, @function
/* void native_enter(struct entry *): returns after native_signal has captured the outcome. */
native_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, saved_rsp(%rip)
    rdfsbase %rax
    mov %rax, saved_fs_base(%rip)
    fxrstor ENTRY_FX(%rdi)
    mov ENTRY_SEGMENT+0(%rdi), %es
    mov ENTRY_SEGMENT+6(%rdi), %ds
    mov ENTRY_SEGMENT+8(%rdi), %fs
    mov ENTRY_SEGMENT+10(%rdi), %gs
    lea ENTRY_IRET(%rdi), %rsp
    mov ENTRY_GPR+0(%rdi), %eax
    mov ENTRY_GPR+4(%rdi), %ecx
    mov ENTRY_GPR+8(%rdi), %edx
    mov ENTRY_GPR+12(%rdi), %ebx
    mov ENTRY_GPR+20(%rdi), %ebp
    mov ENTRY_GPR+24(%rdi), %esi
    mov ENTRY_GPR+28(%rdi), %edi
    iretq

    .globl native_signal
    .type native_signal, @function
/* Signal handler (rdi signal, rsi siginfo, rdx ucontext): puts the C world right, captures, leaves the signal. */
native_signal:
    pushq $0x202
    popfq
    mov %es, captured_segments+0(%rip)
    mov %ds, captured_segments+6(%rip)
    mov %fs, captured_segments+8(%rip)
    mov %gs, captured_segments+10(%rip)
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %gs
    mov %eax, %fs
    mov saved_fs_base(%rip), %rax
    wrfsbase %rax
    sub $8, %rsp
    call native_capture
    mov saved_rsp(%rip), %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .align 8
saved_rsp:
    .skip 8
    .globl saved_fs_base
saved_fs_base:
    .skip 8
    .globl captured_segments
captured_segments:
    .skip 16
    .section .note.GNU-stack,"",@progbits

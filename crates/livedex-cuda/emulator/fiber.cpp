#include "fiber.h"

#include <stdint.h>

#if defined(__x86_64__)

// Pushes what a function must keep, changes stacks, and pops the other fiber's. ucontext.h would do the same and ask
// the kernel for the signal mask each time, which takes a hundred times as long.
extern "C" __attribute__((visibility("hidden"))) void livedex_switch(void **from, void *to);

asm(R"(
    .text
    .hidden livedex_switch
    .globl livedex_switch
    .type livedex_switch, @function
livedex_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size livedex_switch, . - livedex_switch
)");

void emulator::begin(Fiber &fiber, void *top, size_t, void (*entry)()) {
    auto *stack = reinterpret_cast<uint64_t *>(reinterpret_cast<uintptr_t>(top) & ~(uintptr_t)15);
    // No caller, then where `ret` goes, then six registers.
    *--stack = 0;
    *--stack = reinterpret_cast<uint64_t>(entry);
    for (int i = 0; i < 6; i++) {
        *--stack = 0;
    }
    fiber.stack_pointer = stack;
}

void emulator::switch_to(Fiber &from, Fiber &to) {
    livedex_switch(&from.stack_pointer, to.stack_pointer);
}

#else

#include <ucontext.h>

// A fiber is used again for each block; what it was is given up.
void emulator::begin(Fiber &fiber, void *top, size_t size, void (*entry)()) {
    delete static_cast<ucontext_t *>(fiber.stack_pointer);
    auto *context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = static_cast<char *>(top) - size;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    fiber.stack_pointer = context;
}

void emulator::switch_to(Fiber &from, Fiber &to) {
    if (!from.stack_pointer) {
        from.stack_pointer = new ucontext_t;
    }
    swapcontext(static_cast<ucontext_t *>(from.stack_pointer), static_cast<ucontext_t *>(to.stack_pointer));
}

#endif

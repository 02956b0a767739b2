// Runs a CUDA kernel file on a CPU, slowly, for tests where there is no GPU: the very same file, included before it by
//
//   cc -x c++ -std=c++17 -O1 -ffp-contract=off -fno-exceptions -fno-rtti
//     -fvisibility=hidden -fPIC -shared -DON_HOST -include shim.h NAME.cu -o NAME.so -lm
//
// A C++ compiler without its standard library is enough, and a C library with <ucontext.h>. The file ends with
//
//   #ifdef ON_HOST
//   HOST_KERNEL(first_kernel)      one line for each kernel
//   #endif
//
// The library has two functions; calls are taken one at a time, and return when the kernel is done.
//
//   int run_kernel(const char* name, dim3 grid, dim3 block, size_t shared_bytes, void** args);
//       args as cuLaunchKernel takes them: args[i] points to the value of parameter i. Pointers are the host's.
//       0: done. 1: no such kernel. 2: a launch that no device would take. 3: threads wait for each other for ever.
//   void shuffle_threads(unsigned long long seed);
//       For later launches of the calling thread: 0 runs blocks and threads in order, each as far as it gets; any other
//       number in an order made from it, with threads interrupted at atomics and fences (and nowhere else), and one warp far
//       behind the others. A right kernel gives the same either way.
//
// Blocks run one after another, the threads of a block as fibers that change at barriers, warp operations and atomics. So a
// kernel that waits for a block that has not begun hangs here (on a device it might). Shared memory is full of rubbish when
// a block begins.
// Only what the kernels here need of CUDA is in here: one dimension of threads, warp operations of whole warps.
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__ __attribute__((unused))
#define __launch_bounds__(...)
// One block runs at a time, so what its threads share is static; in a section of its own, to be filled with rubbish.
#define __shared__ static __attribute__((section("block_shared")))
// Dynamic shared memory. For the device: `#define DYNAMIC_SHARED(T, name) extern __shared__ T name[]`.
#define DYNAMIC_SHARED(T, name) T* const name = (T*)on_host::dynamic_shared

struct dim3 {
    unsigned x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

extern "C" {
float sqrtf(float);
double sqrt(double);
float fabsf(float);
float floorf(float);
float roundf(float);
float fminf(float, float);
float logf(float);
double cosh(double);
double sinh(double);
double cos(double);
double sin(double);
extern char __start_block_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_block_shared[] __attribute__((weak, visibility("hidden")));
}

namespace on_host {

enum { THREADS_MAX = 1024, STACK_BYTES = 64 << 10, SHARED_BYTES_MAX = 227 << 10 };

struct Fiber {
    ucontext_t context;
    unsigned thread;
    bool is_done;
    const unsigned* waits_for;   // runs again when this is no longer `as_of`
    unsigned as_of;
};

// What the lanes of a warp, or the threads of a block, tell each other: values of the round that gathers, and those of the
// round before, which the slower ones still read.
struct Meeting {
    unsigned round, arrived;
    unsigned values[2][32];
};

alignas(16) static char dynamic_shared[SHARED_BYTES_MAX];
static Fiber fibers[THREADS_MAX];
static Fiber* running;
static Meeting warps[THREADS_MAX / 32], block;
static size_t dynamic_bytes;
static ucontext_t scheduler;
static char* stacks;
static void (*work)(void (*)(), void**);
static void (*kernel)();
static void** arguments;
static unsigned long long seed, random_state;
static __thread unsigned long long seed_of_caller;

// A number below n. (xorshift64*)
static unsigned below(unsigned n) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (unsigned)((random_state * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static void shuffle(unsigned* order, unsigned n) {
    for (unsigned i = 0; i < n; i++) order[i] = i;
    for (unsigned i = n; seed != 0 && i > 1; i--) {
        const unsigned j = below(i), other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
}

static void leave() {
    swapcontext(&running->context, &scheduler);
}

static void maybe_leave() {
    if (seed != 0 && below(4) == 0) leave();
}

// Waits for the others; what they brought is in `values[round % 2]` of the round that is returned.
static unsigned meet(Meeting& meeting, unsigned members, unsigned lane, unsigned value) {
    const unsigned round = meeting.round;
    meeting.values[round % 2][lane] = value;
    if (++meeting.arrived == members) {
        meeting.arrived = 0;
        meeting.round++;
    } else {
        running->waits_for = &meeting.round;
        running->as_of = round;
        leave();
        running->waits_for = 0;
    }
    return round;
}

// What the other lanes of the warp brought. The last warp of a block may have fewer than 32.
static const unsigned* exchange(unsigned mask, unsigned value) {
    Meeting& warp = warps[threadIdx.x / 32];
    const unsigned lanes = blockDim.x - threadIdx.x / 32 * 32 < 32 ? blockDim.x % 32 : 32;
    if (mask != 0xffffffffu) abort();
    for (unsigned lane = lanes; lane < 32; lane++) warp.values[warp.round % 2][lane] = 0;
    const unsigned round = meet(warp, lanes, threadIdx.x % 32, value);
    return warp.values[round % 2];
}

static void fiber() {
    for (;;) {
        work(kernel, arguments);
        running->is_done = true;
        leave();
    }
}

static void prepare(unsigned threads) {
    if (stacks == 0) {
        stacks = (char*)malloc((size_t)THREADS_MAX * STACK_BYTES);
        if (stacks == 0) abort();
        for (unsigned i = 0; i < THREADS_MAX; i++) {
            getcontext(&fibers[i].context);
            fibers[i].context.uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
            fibers[i].context.uc_stack.ss_size = STACK_BYTES;
            fibers[i].context.uc_link = 0;
            makecontext(&fibers[i].context, fiber, 0);
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        fibers[i].thread = i;
        fibers[i].is_done = false;
        fibers[i].waits_for = 0;
    }
    memset(warps, 0, sizeof warps);
    memset(&block, 0, sizeof block);
    memset(dynamic_shared, 0xa5, dynamic_bytes);
    if (__start_block_shared != 0) memset(__start_block_shared, 0xa5, (size_t)(__stop_block_shared - __start_block_shared));
}

// Runs the threads of one block until all are done; false if they wait for each other for ever.
static bool run_block(unsigned threads) {
    unsigned order[THREADS_MAX];
    prepare(threads);
    // One warp falls far behind the others, if nothing makes them wait for it.
    const unsigned slow_warp = seed != 0 ? below((threads + 31) / 32) : 0;
    for (unsigned done = 0; done < threads;) {
        bool moved = false;
        const bool rests = seed != 0 && below(8) != 0;
        shuffle(order, threads);
        for (unsigned i = 0; i < threads; i++) {
            running = &fibers[order[i]];
            if (running->is_done || (running->waits_for != 0 && *running->waits_for == running->as_of)) continue;
            moved = true;
            if (rests && order[i] / 32 == slow_warp) continue;
            threadIdx.x = running->thread;
            swapcontext(&scheduler, &running->context);
            done += running->is_done;
        }
        if (!moved) return false;
    }
    return true;
}

static int run(unsigned blocks, unsigned threads) {
    unsigned* order = (unsigned*)malloc(blocks * sizeof(unsigned));
    random_state = seed * 0x9e3779b97f4a7c15ull + 1;
    shuffle(order, blocks);
    bool good = true;
    for (unsigned i = 0; good && i < blocks; i++) {
        blockIdx.x = order[i];
        good = run_block(threads);
    }
    free(order);
    return good ? 0 : 3;
}

template <unsigned... I>
struct Indices {};
template <unsigned N, unsigned... I>
struct Counted : Counted<N - 1, N - 1, I...> {};
template <unsigned... I>
struct Counted<0, I...> {
    typedef Indices<I...> Type;
};

template <class... P, unsigned... I>
static void unpack(void (*f)(P...), void** args, Indices<I...>) {
    f(*(P*)args[I]...);
}

template <class... P>
static void call(void (*f)(), void** args) {
    unpack((void (*)(P...))f, args, typename Counted<sizeof...(P)>::Type());
}

// A line of the table of kernels, made from the kernel's own type.
struct Entry {
    const char* name;
    void (*kernel)();
    void (*work)(void (*)(), void**);
    Entry* next;

    template <class... P>
    Entry(const char* name, void (*f)(P...));
};

static Entry* entries;

template <class... P>
Entry::Entry(const char* name, void (*f)(P...)) : name(name), kernel((void (*)())f), work(&call<P...>), next(entries) {
    entries = this;
}

static int launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, void** args) {
    const Entry* entry = entries;
    while (entry != 0 && strcmp(entry->name, name) != 0) entry = entry->next;
    if (entry == 0) return 1;
    const bool one_dimension = grid.y == 1 && grid.z == 1 && block.y == 1 && block.z == 1;
    if (!one_dimension || grid.x == 0 || grid.x > 0x7fffffffu || block.x == 0 || block.x > THREADS_MAX) return 2;
    if (shared_bytes > SHARED_BYTES_MAX) return 2;
    seed = seed_of_caller;
    dynamic_bytes = shared_bytes;
    gridDim = grid;
    blockDim = block;
    threadIdx = blockIdx = {0, 0, 0};
    kernel = entry->kernel;
    work = entry->work;
    arguments = args;
    const int result = run(grid.x, block.x);
    if (result == 3) {
        // Their fibers stand in the middle of the kernel: the next launch begins with new ones.
        free(stacks);
        stacks = 0;
    }
    return result;
}

}  // namespace on_host

#define HOST_KERNEL(name) static on_host::Entry on_host_##name(#name, name);

extern "C" __attribute__((visibility("default"))) void shuffle_threads(unsigned long long seed) {
    on_host::seed_of_caller = seed;
}

extern "C" __attribute__((visibility("default"))) int run_kernel(const char* name, dim3 grid, dim3 block,
                                                                 size_t shared_bytes, void** args) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one_at_a_time);
    const int result = on_host::launch(name, grid, block, shared_bytes, args);
    pthread_mutex_unlock(&one_at_a_time);
    return result;
}

// ---------------------------------------------------------------------------------------------------- what kernels call

__device__ void __syncthreads() {
    on_host::meet(on_host::block, blockDim.x, 0, 0);
}

__device__ void __syncwarp(unsigned mask = 0xffffffffu) {
    on_host::exchange(mask, 0);
}

__device__ void __threadfence() {
    on_host::maybe_leave();
}

__device__ unsigned __shfl_sync(unsigned mask, unsigned value, unsigned lane) {
    return on_host::exchange(mask, value)[lane % 32];
}

__device__ unsigned __shfl_up_sync(unsigned mask, unsigned value, unsigned reach) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned* values = on_host::exchange(mask, value);
    return values[lane >= reach ? lane - reach : lane];
}

__device__ unsigned __ballot_sync(unsigned mask, bool is_true) {
    const unsigned* values = on_host::exchange(mask, is_true);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++) ballot |= values[lane] << lane;
    return ballot;
}

__device__ bool __all_sync(unsigned mask, bool is_true) {
    return __ballot_sync(mask, !is_true) == 0;
}

__device__ unsigned __reduce_add_sync(unsigned mask, unsigned value) {
    const unsigned* values = on_host::exchange(mask, value);
    unsigned sum = 0;
    for (unsigned lane = 0; lane < 32; lane++) sum += values[lane];
    return sum;
}

__device__ unsigned __reduce_max_sync(unsigned mask, unsigned value) {
    const unsigned* values = on_host::exchange(mask, value);
    unsigned most = 0;
    for (unsigned lane = 0; lane < 32; lane++) most = values[lane] > most ? values[lane] : most;
    return most;
}

__device__ unsigned atomicAdd(unsigned* at, unsigned value) {
    on_host::maybe_leave();
    const unsigned old = *at;
    *at = old + value;
    return old;
}

__device__ unsigned atomicMax(unsigned* at, unsigned value) {
    on_host::maybe_leave();
    const unsigned old = *at;
    if (value > old) *at = value;
    return old;
}

__device__ unsigned min(unsigned a, unsigned b) {
    return a < b ? a : b;
}

__device__ unsigned max(unsigned a, unsigned b) {
    return a > b ? a : b;
}

__device__ int __popc(unsigned value) {
    return __builtin_popcount(value);
}

__device__ unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

__device__ float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// As the device converts: towards zero, saturating, NaN to 0.
__device__ unsigned __float2uint_rz(float value) {
    return value >= 4294967296.0f ? 0xffffffffu : value >= 1.0f ? (unsigned)value : 0;
}

__device__ int __float2int_rz(float value) {
    const int least = -2147483647 - 1;
    return value >= 2147483648.0f ? 2147483647 : value >= -2147483648.0f ? (int)value : value < 0.0f ? least : 0;
}

// Just enough of CUDA to run the kernels on a CPU, thread by thread: every thread of a block is a fiber, and what
// waits for others (shuffles, barriers) lets them run. Blocks run one after the other. For results, not for speed.
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static

using std::log;
using std::pow;
using std::sqrt;

struct Place {
    unsigned x;
};
static Place threadIdx, blockIdx, blockDim;

namespace emulator {

struct Barrier {
    unsigned arrived = 0, generation = 0;
};
struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool over = false;
};

static std::vector<Fiber> fibers;
static std::vector<Barrier> of_warps;
static Barrier of_block;
static std::vector<double> slots;
static std::function<void()> body;
static ucontext_t home;
static unsigned long idle;

static void resume(unsigned thread) {
    const unsigned mine = threadIdx.x;
    threadIdx.x = thread;
    swapcontext(&fibers[mine].context, &fibers[thread].context);
    threadIdx.x = mine;
}

static void yield() {
    if (++idle > 100ul * fibers.size()) {
        std::fprintf(stderr, "deadlock: threads wait for others that do not come\n");
        std::abort();
    }
    const unsigned count = fibers.size();
    for (unsigned step = 1; step < count; ++step) {
        const unsigned next = (threadIdx.x + step) % count;
        if (!fibers[next].over) return resume(next);
    }
}

static void wait(Barrier& barrier, unsigned size) {
    const unsigned generation = barrier.generation;
    if (++barrier.arrived == size) {
        barrier.arrived = 0;
        ++barrier.generation;
        idle = 0;
    }
    while (barrier.generation == generation) yield();
}

static void entry() {
    body();
    fibers[threadIdx.x].over = true;
    idle = 0;
    const unsigned count = fibers.size();
    for (unsigned step = 1; step < count; ++step) {
        const unsigned next = (threadIdx.x + step) % count;
        if (!fibers[next].over) {
            threadIdx.x = next;
            setcontext(&fibers[next].context);
        }
    }
    setcontext(&home);
}

static void run_block(unsigned threads) {
    fibers = std::vector<Fiber>(threads);
    of_warps.assign((threads + 31) / 32, {});
    of_block = {};
    slots.assign(threads, 0.0);
    blockDim.x = threads;
    idle = 0;
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, entry, 0);
    }
    threadIdx.x = 0;
    swapcontext(&home, &fibers[0].context);
}

template <typename Number>
Number exchange(Number number, unsigned from) {
    const unsigned warp = threadIdx.x / 32;
    std::memcpy(&slots[threadIdx.x], &number, sizeof number);
    wait(of_warps[warp], 32);
    std::memcpy(&number, &slots[warp * 32 + from], sizeof number);
    wait(of_warps[warp], 32);
    return number;
}

template <typename... Given, std::size_t... Each>
void invoke(void (*kernel)(Given...), void** given, std::index_sequence<Each...>) {
    kernel(*static_cast<Given*>(given[Each])...);
}

template <typename... Given>
void launch(void (*kernel)(Given...), unsigned grid, unsigned threads, void** given) {
    body = [=] { invoke(kernel, given, std::index_sequence_for<Given...>()); };
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) run_block(threads);
}

}  // namespace emulator

template <typename Number>
Number __shfl_xor_sync(unsigned, Number number, unsigned far) {
    return emulator::exchange(number, threadIdx.x % 32 ^ far);
}

template <typename Number>
Number __shfl_sync(unsigned, Number number, unsigned from, unsigned width) {
    return emulator::exchange(number, threadIdx.x % 32 / width * width + from);
}

inline void __syncthreads() { emulator::wait(emulator::of_block, blockDim.x); }

// Runs a CUDA kernel on a CPU, one thread after another; the kernel's source follows in the same file.
//
// Each CUDA thread of a block is a fiber, which gives way at a barrier until the others have come.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#define ON_CPU
#define __global__
#define __device__
#define __shared__
using std::max;
using std::min;

struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
struct dim3 { unsigned int x, y, z; };

static dim3 gridDim, blockDim, blockIdx, threadIdx;
// `extern __shared__ T shared[]` in a kernel means this memory, whatever T.
constexpr unsigned char UNTOUCHED = 0xa5;
constexpr unsigned int SHARED_BYTES = 1 << 20;
asm(".comm shared, 1048576, 64");
extern unsigned char all_shared[] asm("shared");

namespace fibers {
struct Fiber {
    ucontext_t start = {};
    jmp_buf at;
    std::unique_ptr<char[]> stack{new char[1 << 16]};
    bool begun = false, done = false;
};
struct Barrier {
    unsigned int arrived = 0, generation = 0;
};
static jmp_buf scheduler;
static std::vector<Fiber> all;
static unsigned int current;
static Barrier of_block, of_warp[32];
static void (*body)(void*);
static void* body_argument;

static void enter() {
    body(body_argument);
    all[current].done = true;
    _longjmp(scheduler, 1);
}

// After a fiber's start all changes are jumps, which make no system call.
static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    setcontext(&fiber.start);
}

static void give_way(Fiber& fiber) {
    if (!_setjmp(fiber.at)) _longjmp(scheduler, 1);
}

static void wait_at(Barrier& barrier, unsigned int expected) {
    const unsigned int generation = barrier.generation;
    if (++barrier.arrived == expected) {
        barrier.arrived = 0;
        ++barrier.generation;
        return;
    }
    while (barrier.generation == generation) give_way(all[current]);
}

static void run_block() {
    const unsigned int threads = blockDim.x;
    if (all.size() < threads) all = std::vector<Fiber>(threads);
    for (unsigned int t = 0; t < threads; ++t) {
        all[t].begun = all[t].done = false;
        if (all[t].start.uc_stack.ss_sp) continue;
        getcontext(&all[t].start);
        all[t].start.uc_stack.ss_sp = all[t].stack.get();
        all[t].start.uc_stack.ss_size = 1 << 16;
        makecontext(&all[t].start, enter, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (current = 0; current < threads; ++current) {
            if (all[current].done) continue;
            any = true;
            threadIdx = {current, 0, 0};
            resume(all[current]);
        }
    }
}
}  // namespace fibers

inline void __syncthreads() { fibers::wait_at(fibers::of_block, blockDim.x); }
inline void __syncwarp() {
    const unsigned int warp = threadIdx.x / 32;
    fibers::wait_at(fibers::of_warp[warp], std::min(32u, blockDim.x - 32 * warp));
}

inline float from_half(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : std::ldexp((float)(fraction + (exponent ? 1024 : 0)), std::max(exponent, 1) - 25);
    return bits & 0x8000 ? -value : value;
}

// Rounded to nearest, half to even, as the GPU's own instruction does.
inline unsigned short to_half(float value) {
    const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    const float size = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent;
    std::frexp(size, &exponent);
    exponent = std::max(exponent, -13);
    const int fraction = (int)std::rint(std::ldexp(size, 11 - exponent));
    return sign | (unsigned short)(fraction < 1024 ? fraction : ((exponent + 13) << 10) + fraction);
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    std::tuple<A...> arguments;
    static void run(void* call) {
        std::apply(((Call*)call)->kernel, ((Call*)call)->arguments);
    }
};

template <class... A, size_t... N>
void start(void (*kernel)(A...), void** arguments, std::index_sequence<N...>) {
    Call<A...> call = {kernel, {*(A*)arguments[N]...}};
    fibers::body = Call<A...>::run;
    fibers::body_argument = &call;
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
                fibers::of_block = {};
                for (auto& barrier : fibers::of_warp) barrier = {};
                fibers::run_block();
            }
}

// Whether the kernel kept to the shared memory it asked for.
template <class... A>
bool start(void (*kernel)(A...), unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int threads,
           unsigned int shared_bytes, void** arguments) {
    memset(all_shared, UNTOUCHED, SHARED_BYTES);
    gridDim = {grid_x, grid_y, grid_z};
    blockDim = {threads, 1, 1};
    start(kernel, arguments, std::index_sequence_for<A...>{});
    return std::count(all_shared + shared_bytes, all_shared + SHARED_BYTES, UNTOUCHED) == SHARED_BYTES - shared_bytes;
}

// Small copies between pinned memory and the GPU's own, and the signal that everything before it on the stream has ended.
//
// A GPU has few copy engines, and what is enqueued there waits for all that was enqueued before, also on other streams: behind a
// kernel that runs for long, small copies of others stand still. A kernel that copies stands in the line of its own stream only.
//
// And a signal is a word of the host's memory: whoever waits looks at it without asking the driver.

namespace {

struct alignas(16) Words {
    unsigned int word[4];
};

// Zeros, where there is no `from`.
__device__ void move(char* to, const char* from, unsigned long long bytes, unsigned int thread, unsigned int threads) {
    unsigned long long done = 0;
    if (((reinterpret_cast<unsigned long long>(to) | reinterpret_cast<unsigned long long>(from)) & 15) == 0) {
        const unsigned long long words = bytes / 16;
        for (unsigned long long i = thread; i < words; i += threads) {
            reinterpret_cast<Words*>(to)[i] = from ? reinterpret_cast<const Words*>(from)[i] : Words{};
        }
        done = words * 16;
    }
    for (unsigned long long i = done + thread; i < bytes; i += threads) to[i] = from ? from[i] : 0;
}

}  // namespace

// Up to four copies, whose parts do not overlap. A signal, if there is one, takes a single block: the host sees it after what the
// block has written.
extern "C" __global__ void asynchrotron_move(
    char* to_0, const char* from_0, unsigned long long bytes_0,
    char* to_1, const char* from_1, unsigned long long bytes_1,
    char* to_2, const char* from_2, unsigned long long bytes_2,
    char* to_3, const char* from_3, unsigned long long bytes_3,
    volatile unsigned int* signal) {
    const unsigned int thread = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned int threads = gridDim.x * blockDim.x;
    move(to_0, from_0, bytes_0, thread, threads);
    move(to_1, from_1, bytes_1, thread, threads);
    move(to_2, from_2, bytes_2, thread, threads);
    move(to_3, from_3, bytes_3, thread, threads);
    if (!signal) return;
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0) *signal = 1;
}

// Backward warp W of Eq. 2: every pixel from where it was a frame ago, bilinear, borders repeated, as torch's
// grid_sample with padding_mode "border" and align_corners False.
//
// Compiled for REAL and FLOW (half_t or float); VECTOR: 0 for planes [C, H, W]; else pixels [H, W, C], read and
// written so many channels at once (16 bytes where C allows it); and FLOW_PIXELS: whether the flow is pixels too.

struct Taps {
    int at[4];  // pixel numbers
    float weight[4];
};

__device__ inline Taps taps_of(const FLOW* flow, int x, int y, int width, int height) {
    const FLOW* there = flow + (y * width + x) * (FLOW_PIXELS ? 2 : 1);
    // What is not a number reads the first pixel, so that no bad flow can reach outside the picture.
    const float u = clamped(x + load(there), 0.0f, width - 1.0f);
    const float v = clamped(y + load(there + (FLOW_PIXELS ? 1 : width * height)), 0.0f, height - 1.0f);
    const int left = (int)floorf(u), top = (int)floorf(v);
    const int right = min(left + 1, width - 1), bottom = min(top + 1, height - 1);
    const float fx = u - left, fy = v - top;
    return {{top * width + left, top * width + right, bottom * width + left, bottom * width + right},
            {(1.0f - fx) * (1.0f - fy), fx * (1.0f - fy), (1.0f - fx) * fy, fx * fy}};
}

#if VECTOR == 0
__device__ inline void carry(const REAL* image, REAL* out, const Taps& taps, int pixel, int pixels, int channels) {
    const int per_block = (channels + gridDim.y - 1) / gridDim.y;
    const int end = min(channels, ((int)blockIdx.y + 1) * per_block);
    for (int c = blockIdx.y * per_block; c < end; ++c) {
        const REAL* plane = image + (address_t)c * pixels;
        float value = 0.0f;
        for (int k = 0; k < 4; ++k) value += taps.weight[k] * load(plane + taps.at[k]);
        store(out + (address_t)c * pixels + pixel, value);
    }
}
#else
struct alignas(VECTOR * sizeof(REAL)) Channels {
    REAL value[VECTOR];
};

__device__ inline void carry(const REAL* image, REAL* out, const Taps& taps, int pixel, int pixels, int channels) {
    const int vectors = channels / VECTOR;
    for (int c = blockIdx.y; c < vectors; c += gridDim.y) {
        float values[VECTOR] = {};
        for (int k = 0; k < 4; ++k) {
            const Channels read = ((const Channels*)image)[(address_t)taps.at[k] * vectors + c];
            for (int n = 0; n < VECTOR; ++n) values[n] += taps.weight[k] * load(read.value + n);
        }
        Channels made;
        for (int n = 0; n < VECTOR; ++n) store(made.value + n, values[n]);
        ((Channels*)out)[(address_t)pixel * vectors + c] = made;
    }
}
#endif

// image: [N, C, H, W] or [N, H, W, C]; flow: [N, 2, H, W] or [N, H, W, 2] pixels (x, y). One thread a pixel, the
// channels spread over blockIdx.y, the pictures over blockIdx.z.
extern "C" __global__ void warp(const REAL* image, const FLOW* flow, REAL* out, int channels, int height, int width) {
    const int pixels = width * height;
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    const address_t picture = (address_t)blockIdx.z * pixels;
    const Taps taps = taps_of(flow + 2 * picture, pixel % width, pixel / width, width, height);
    carry(image + picture * channels, out + picture * channels, taps, pixel, pixels, channels);
}

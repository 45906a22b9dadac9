// What the kernels share: types, element access, and small geometry. A pixel's centre is at a whole number.
//
// The half-float conversions are two instructions of the GPU, so no header of the CUDA toolkit is needed; the
// tests, which compile these sources for a CPU, bring their own.

typedef unsigned char byte;
typedef unsigned short half_t;  // the bits of an IEEE 754 half float
typedef unsigned long long address_t;

#ifndef ON_CPU
__device__ inline float from_half(half_t bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ inline half_t to_half(float value) {
    half_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

__device__ inline float load(const float* from) { return *from; }
__device__ inline float load(const half_t* from) { return from_half(*from); }
__device__ inline float load(const byte* from) { return *from; }
__device__ inline void store(float* to, float value) { *to = value; }
__device__ inline void store(half_t* to, float value) { *to = to_half(value); }

__device__ inline float clamped(float value, float low, float high) { return fminf(fmaxf(value, low), high); }
__device__ inline int clamped(int value, int low, int high) { return min(max(value, low), high); }

struct Point {
    float x, y;
};

// Where a pixel of the destination lies in the source.
struct Affine {
    float xx, xy, xt, yx, yy, yt;

    __device__ Point at(int x, int y) const {
        return {xx * x + xy * y + xt, yx * x + yy * y + yt};
    }

    // The same, no further out than these: bilinear reading then repeats what lies there.
    __device__ Point within(int x, int y, float low, float right, float bottom) const {
        Point p = at(x, y);
        return {clamped(p.x, low, right), clamped(p.y, low, bottom)};
    }
};

// Cells from (x0, y0) to (x1, y1), both included.
struct Box {
    int x0, y0, x1, y1;

    __device__ int width() const { return x1 - x0 + 1; }
    __device__ int height() const { return y1 - y0 + 1; }
    __device__ int index(int x, int y) const {
        return (clamped(y, y0, y1) - y0) * width() + clamped(x, x0, x1) - x0;
    }
};

// The cells that bilinear reading needs for a tile of the destination, `reach` more on each side, no further
// out than low and (right, bottom).
__device__ inline Box cells_under(const Affine& inward, int x, int y, int wide, int tall, int reach, int low, int right,
                                  int bottom) {
    float x0 = 3e38f, y0 = 3e38f, x1 = -3e38f, y1 = -3e38f;
    for (int corner = 0; corner < 4; ++corner) {
        Point p = inward.within(x + (corner & 1) * (wide - 1), y + (corner >> 1) * (tall - 1), low, right, bottom);
        x0 = fminf(x0, p.x), x1 = fmaxf(x1, p.x);
        y0 = fminf(y0, p.y), y1 = fmaxf(y1, p.y);
    }
    return {clamped((int)floorf(x0) - reach, low, right), clamped((int)floorf(y0) - reach, low, bottom),
            clamped((int)floorf(x1) + 1 + reach, low, right), clamped((int)floorf(y1) + 1 + reach, low, bottom)};
}

// Y, U, V in 8-bit codes to R, G, B in levels; black: the code of Y that is 0.
struct Colour {
    float ry, ru, rv, gy, gu, gv, by, bu, bv, black;

    __device__ void to_rgb(float* values) const {
        const float y = values[0] - black, u = values[1] - 128.0f, v = values[2] - 128.0f;
        values[0] = ry * y + ru * u + rv * v;
        values[1] = gy * y + gu * u + gv * v;
        values[2] = by * y + bu * u + bv * v;
    }
};

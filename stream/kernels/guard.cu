// The guard of skin, lowered where the network sees what is to be kept: stream.traits.shares_of and spared, for moles
// and freckles, in one pass. What is kept is averaged over the frames before (stream.retoucher) in passing.
//
// Compiled for REAL (half_t or float).

constexpr int FACE = 512, SIDE = 256, KEPT = 128, KINDS = 2;

// A place of a plane that is half as wide, and how much of the next one: OpenCV's enlargement to twice the side.
struct Half {
    int at, next;
    float share;

    __device__ Half(int place, int side) {
        const float u = clamped(0.5f * place - 0.25f, 0.0f, side - 1.0f);
        at = (int)u;
        next = min(at + 1, side - 1);
        share = u - at;
    }
};

struct Kept {
    const REAL* newest;
    const float* before;
    float weight;

    __device__ float at(int kind, int x, int y) const {
        const int place = (kind * KEPT + y) * KEPT + x;
        return before[place] + weight * (load(newest + place) - before[place]);
    }

    // Enlarged to 256 x 256.
    __device__ float enlarged(int kind, int x, int y) const {
        const Half u(x, KEPT), v(y, KEPT);
        const float upper = at(kind, u.at, v.at) * (1.0f - u.share) + at(kind, u.next, v.at) * u.share;
        const float lower = at(kind, u.at, v.next) * (1.0f - u.share) + at(kind, u.next, v.next) * u.share;
        return upper * (1.0f - v.share) + lower * v.share;
    }
};

// How sure one has to be: nothing is guarded up to low, all from low + 1 / scale on; nothing at all with scale 0.
struct Sure {
    float low, scale;

    __device__ float share(float likely) const { return clamped((likely - low) * scale, 0.0f, 1.0f); }
};

// How much of the effect 2x2 pixels of the face let through.
__device__ inline float through(const byte* skin, const Kept& kept, const Sure* sure, int x, int y) {
    const byte* corner = skin + 2 * y * FACE + 2 * x;
    const int mean = (corner[0] + corner[1] + corner[FACE] + corner[FACE + 1] + 2) >> 2;
    if (mean == 0) return 1.0f;
    const float most = fmaxf(sure[0].share(kept.enlarged(0, x, y)), sure[1].share(kept.enlarged(1, x, y)));
    return 1.0f - most * (mean * (1.0f / 255.0f));
}

// skin: uint8 [512, 512]. newest: [2, 128, 128], the network's. before, after: float [2, 128, 128], averaged so far and
// with `weight` of the newest. out: uint8 [512, 512]. One thread a pixel.
extern "C" __global__ void guard(const byte* skin, const REAL* newest, const float* before, float* after,
                                 float weight, float mole_low, float mole_scale, float freckle_low,
                                 float freckle_scale, byte* out) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const Kept kept = {newest, before, weight};
    if (pixel < KINDS * KEPT * KEPT) {
        after[pixel] = kept.at(pixel / (KEPT * KEPT), pixel % KEPT, pixel / KEPT % KEPT);
    }
    const Sure sure[KINDS] = {{mole_low, mole_scale}, {freckle_low, freckle_scale}};
    const byte value = skin[pixel];
    if (value == 0) {
        out[pixel] = 0;
        return;
    }
    const Half u(pixel % FACE, SIDE), v(pixel / FACE, SIDE);
    const float upper = through(skin, kept, sure, u.at, v.at) * (1.0f - u.share) +
                        through(skin, kept, sure, u.next, v.at) * u.share;
    const float lower = through(skin, kept, sure, u.at, v.next) * (1.0f - u.share) +
                        through(skin, kept, sure, u.next, v.next) * u.share;
    out[pixel] = (byte)rintf(value * (upper * (1.0f - v.share) + lower * v.share));
}

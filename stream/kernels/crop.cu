// The aligned face of a frame, as a network reads it: stream.crop.crop_face, in one pass.
//
// A CUDA block makes a tile of the face. First its warps average the source into cells of block x block pixels
// (stream.crop.Part), each one row of cells at a time: a lane adds up sixteen bytes of every row, then the
// lanes add up each cell's columns. Then every thread reads the cells bilinearly, blurred where they have to be.
//
// Compiled for FORMAT (0 RGB, 1 NV12, 2 I420), OUT (byte in levels; half_t or float in [0, 1]) and
// PIXELS (1: [512, 512, 3], 0: [3, 512, 512]).

constexpr int FACE = 512, TILE = 32, WARPS = 8, LANES = 32, SPAN = LANES * 16;

// How samples lie in a plane: `step` bytes from one to the next, `channels` of them from channel `first` on,
// one for 2^shift pixels across and down.
struct Samples {
    int first, channels, step, shift;
};

__device__ constexpr Samples samples_of(int plane) {
    if (FORMAT == 0) return {0, 3, 3, 0};
    if (plane == 0) return {0, 1, 1, 0};
    return FORMAT == 1 ? Samples{1, 2, 2, 1} : Samples{plane, 1, 1, 1};
}

// Adds sixteen bytes to eight pairs of 16-bit sums: the even bytes of each word, then the odd ones.
__device__ inline void add_bytes(uint4 bytes, unsigned int* sums) {
    const unsigned int words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    for (int k = 0; k < 4; ++k) {
        sums[2 * k] += words[k] & 0x00ff00ffu;
        sums[2 * k + 1] += words[k] >> 8 & 0x00ff00ffu;
    }
}

// Up to sixteen bytes that are not aligned, the rest 0.
__device__ inline uint4 sixteen_bytes(const byte* from, int count) {
    unsigned int words[4] = {0, 0, 0, 0};
    for (int k = 0; k < 16; ++k) {
        if (k < count) words[k / 4] |= (unsigned int)from[k] << 8 * (k % 4);
    }
    return {words[0], words[1], words[2], words[3]};
}

// Sums over `rows` rows of the bytes [begin, end) of a plane, from row y of the frame on; sums[0] is that of
// byte `begin` less what it returns. Whole sixteen bytes are read where rows are so aligned: they may reach
// beyond the bytes asked for, but never into memory that is not there.
__device__ inline int column_sums(const byte* plane, int pitch, int y, int rows, int shift, int begin, int end,
                                  half_t* sums) {
    const bool aligned = (((address_t)plane | (address_t)pitch) & 15) == 0;
    const int skew = aligned ? begin & 15 : 0;
    const int from = begin - skew + 16 * (threadIdx.x % LANES);
    if (from < end) {
        unsigned int pairs[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (int k = 0; k < rows; ++k) {
            const byte* row = plane + (address_t)((y + k) >> shift) * pitch + from;
            add_bytes(aligned ? *(const uint4*)row : sixteen_bytes(row, end - from), pairs);
        }
        unsigned int* to = (unsigned int*)sums + 8 * (threadIdx.x % LANES);
        for (int k = 0; k < 4; ++k) {
            to[2 * k] = (pairs[2 * k] & 0xffffu) | pairs[2 * k + 1] << 16;
            to[2 * k + 1] = pairs[2 * k] >> 16 | (pairs[2 * k + 1] & 0xffff0000u);
        }
    }
    return skew;
}

// Rounded as OpenCV does: half up over 2x2 pixels, half to even over more.
__device__ inline byte mean(unsigned int total, int block) {
    return block == 2 ? (byte)((total + 2) >> 2) : (byte)rintf(total / (float)(block * block));
}

// One row of cells into shared memory, four bytes a cell, by one warp. x, y: its first pixel in the frame.
template <int PLANE>
__device__ inline void average_row(const byte* plane, int pitch, int x, int y, int block, int cells, half_t* sums,
                                   byte* averaged) {
    constexpr Samples samples = samples_of(PLANE);
    const int lane = threadIdx.x % LANES;
    const int at_once = (SPAN - 15 - samples.step) / (block * samples.step);
    for (int first = 0; first < cells; first += at_once) {
        const int count = min(at_once, cells - first);
        const int left = x + first * block, right = left + count * block - 1;
        const int begin = (left >> samples.shift) * samples.step;
        const int end = ((right >> samples.shift) + 1) * samples.step;
        const int skew = column_sums(plane, pitch, y, block, samples.shift, begin, end, sums);
        __syncwarp();
        for (int cell = lane; cell < count; cell += LANES) {
            unsigned int totals[samples.channels] = {};
            for (int k = 0; k < block; ++k) {
                const int column = left + cell * block + k;
                const half_t* sum = sums + skew + (column >> samples.shift) * samples.step - begin;
                for (int c = 0; c < samples.channels; ++c) totals[c] += sum[c];
            }
            byte* to = averaged + 4 * (first + cell) + samples.first;
            for (int c = 0; c < samples.channels; ++c) to[c] = mean(totals[c], block);
        }
        __syncwarp();
    }
}

// A cell's three channels, blurred by (1, 2, 1) / 4 both ways if asked for.
__device__ inline void read_cell(const uchar4* cells, const Box& box, int x, int y, bool blurred, int* channels) {
    if (!blurred) {
        const uchar4 cell = cells[box.index(x, y)];
        channels[0] = cell.x, channels[1] = cell.y, channels[2] = cell.z;
        return;
    }
    int sums[3] = {8, 8, 8};
    for (int k = 0; k < 9; ++k) {
        const int i = k % 3 - 1, j = k / 3 - 1, weight = (2 - i * i) * (2 - j * j);
        const uchar4 cell = cells[box.index(x + i, y + j)];
        sums[0] += weight * cell.x, sums[1] += weight * cell.y, sums[2] += weight * cell.z;
    }
    for (int c = 0; c < 3; ++c) channels[c] = sums[c] >> 4;
}

__device__ inline void read_bilinear(const uchar4* cells, const Box& box, Point p, bool blurred, float* values) {
    const int x = (int)floorf(p.x), y = (int)floorf(p.y);
    const float fx = p.x - x, fy = p.y - y;
    values[0] = values[1] = values[2] = 0.0f;
    for (int k = 0; k < 4; ++k) {
        const float weight = (k & 1 ? fx : 1.0f - fx) * (k >> 1 ? fy : 1.0f - fy);
        int channels[3];
        read_cell(cells, box, x + (k & 1), y + (k >> 1), blurred, channels);
        for (int c = 0; c < 3; ++c) values[c] += weight * channels[c];
    }
}

__device__ inline void put(byte* to, float level) { *to = (byte)level; }
__device__ inline void put(half_t* to, float level) { store(to, level * (1.0f / 255.0f)); }
__device__ inline void put(float* to, float level) { store(to, level * (1.0f / 255.0f)); }

__device__ inline void put_pixel(OUT* face, int x, int y, const float* values) {
    for (int c = 0; c < 3; ++c) {
        // Whole levels, as a face that was cropped on a CPU has, and those the network was trained on.
        const float level = clamped(rintf(values[c]), 0.0f, 255.0f);
        put(face + (PIXELS ? (y * FACE + x) * 3 + c : (c * FACE + y) * FACE + x), level);
    }
}

// pitches: bytes from one row of a plane to the next. x0 to blurred: see stream.crop.Part. xx to yt: face pixels to
// cells. ry to black: see Colour. Grid (16, 16), block 256. Shared memory: four bytes for each cell under a
// tile, after 2 * WARPS * SPAN bytes.
extern "C" __global__ void crop(const byte* plane0, const byte* plane1, const byte* plane2, int pitch0, int pitch1,
                                int x0, int y0, int columns, int rows, int block, int blurred, float xx, float xy,
                                float xt, float yx, float yy, float yt, float ry, float ru, float rv, float gy,
                                float gu, float gv, float by, float bu, float bv, float black, OUT* face) {
    extern __shared__ uint4 shared[];
    half_t* sums = (half_t*)shared + threadIdx.x / LANES * SPAN;
    byte* cells = (byte*)shared + 2 * WARPS * SPAN;
    const Affine inward = {xx, xy, xt, yx, yy, yt};
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    const Box box = cells_under(inward, left, top, TILE, TILE, blurred ? 1 : 0, 0, columns - 1, rows - 1);
    for (int row = threadIdx.x / LANES; row < box.height(); row += WARPS) {
        const int x = x0 + box.x0 * block, y = y0 + (box.y0 + row) * block, count = box.width();
        byte* to = cells + 4 * row * count;
        average_row<0>(plane0, pitch0, x, y, block, count, sums, to);
        if constexpr (FORMAT > 0) average_row<1>(plane1, pitch1, x, y, block, count, sums, to);
        if constexpr (FORMAT > 1) average_row<2>(plane2, pitch1, x, y, block, count, sums, to);
    }
    __syncthreads();
    const Colour colour = {ry, ru, rv, gy, gu, gv, by, bu, bv, black};
    const int x = left + threadIdx.x % LANES;
    for (int y = top + threadIdx.x / LANES; y < top + TILE; y += WARPS) {
        float values[3];
        read_bilinear((const uchar4*)cells, box, inward.within(x, y, 0.0f, columns - 1, rows - 1), blurred, values);
        if (FORMAT != 0) colour.to_rgb(values);
        put_pixel(face, x, y, values);
    }
}

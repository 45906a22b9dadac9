// A residual carried back from the aligned face into the frame, in place: stream.composite.add_residual, and for
// NV12 and I420 stream.planes.add_residual_to_planes after it.
//
// A CUDA block does a tile of the frame. First its threads put what lies under it into shared memory: the
// residual in cells of block x block face pixels, and with it the guard. Then each thread does four pixels of a
// row: twelve bytes, read and written as three words, and only where some of them change. In NV12 and I420 it
// does four pixels of two rows and the chroma they share, which is three words too, or in I420 two words and four bytes.
//
// Compiled for FORMAT (0 RGB, 1 NV12, 2 I420), REAL (half_t or float) and CELLS: 0 for a residual [3, 512, 512], 1
// for the network's two factors, residual_cells [12, 256, 256] and map_cells [4, 256, 256] (export.contract).

constexpr int FACE = 512, WIDE = 32, TALL = 16, PIXELS = 4, ROWS = FORMAT == 0 ? 1 : 2;
constexpr int THREADS = WIDE * TALL / (PIXELS * ROWS);

// What one face adds, in face pixels.
struct Layers {
    const REAL* residual;
    const REAL* map;
    const byte* guard;

    __device__ float level(int c, int x, int y) const {
#if CELLS
        constexpr int HALF = FACE / 2;
        const int part = (y & 1) * 2 + (x & 1), place = (y >> 1) * HALF + (x >> 1);
        return load(residual + (c * 4 + part) * HALF * HALF + place) * load(map + part * HALF * HALF + place);
#else
        return load(residual + (c * FACE + y) * FACE + x);
#endif
    }
};

// Cells of the face's guarded part: x, y of its first pixel, how many across and down, of how many pixels.
struct Cells {
    int x, y, columns, rows, block;

    // One cell: the residual and, as the fourth, the guard, both read bilinearly later and then multiplied. Of
    // averaged cells the residual is guarded already. What lies outside is 0.
    __device__ float4 read(const Layers& layers, int column, int row) const {
        float4 cell = {0.0f, 0.0f, 0.0f, 0.0f};
        if (column < 0 || row < 0 || column >= columns || row >= rows) return cell;
        if (block == 1) {
            cell.w = layers.guard[(y + row) * FACE + x + column] * (1.0f / 255.0f);
            add(cell, layers, x + column, y + row, 1.0f);
            return cell;
        }
        for (int j = 0; j < block; ++j) {
            for (int i = 0; i < block; ++i) {
                const int u = x + column * block + i, v = y + row * block + j;
                const float weight = layers.guard[v * FACE + u] * (1.0f / 255.0f) / (block * block);
                if (weight != 0.0f) add(cell, layers, u, v, weight);
            }
        }
        cell.w = 1.0f;
        return cell;
    }

    __device__ static void add(float4& cell, const Layers& layers, int u, int v, float weight) {
        cell.x += weight * layers.level(0, u, v);
        cell.y += weight * layers.level(1, u, v);
        cell.z += weight * layers.level(2, u, v);
    }
};

// Half to even; what is not a number adds nothing.
__device__ inline int rounded(float level) { return level == level ? (int)rintf(clamped(level, -255.0f, 255.0f)) : 0; }

// What is added at p: bilinear residual times bilinear guard times amount.
__device__ inline void change_at(const float4* cells, const Box& box, Point p, float amount, int* change) {
    const int x = (int)floorf(p.x), y = (int)floorf(p.y);
    const float fx = p.x - x, fy = p.y - y;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = 0; k < 4; ++k) {
        const float4 cell = cells[box.index(x + (k & 1), y + (k >> 1))];
        const float weight = (k & 1 ? fx : 1.0f - fx) * (k >> 1 ? fy : 1.0f - fy);
        sum.x += weight * cell.x;
        sum.y += weight * cell.y;
        sum.z += weight * cell.z;
        sum.w += weight * cell.w;
    }
    const float scale = amount * sum.w;
    change[0] = rounded(scale * sum.x);
    change[1] = rounded(scale * sum.y);
    change[2] = rounded(scale * sum.z);
}

__device__ inline bool changes(const int* change) {
    int any = 0;
    for (int k = 0; k < 3 * PIXELS * ROWS; ++k) any |= change[k];
    return any != 0;
}

__device__ inline unsigned int added(unsigned int word, const int* change) {
    unsigned int sum = 0;
    for (int k = 0; k < 4; ++k) sum |= (unsigned int)clamped((int)(word >> 8 * k & 255) + change[k], 0, 255) << 8 * k;
    return sum;
}

// Adds to PIXELS pixels of a row; what is not to be changed has a change of 0.
__device__ inline void add_to_row(byte* pixels, const int* change, bool whole_words) {
    if (whole_words) {
        unsigned int* words = (unsigned int*)pixels;
        for (int k = 0; k < 3; ++k) words[k] = added(words[k], change + 4 * k);
    } else {
        for (int k = 0; k < 3 * PIXELS; ++k) {
            if (change[k]) pixels[k] = (byte)clamped(pixels[k] + change[k], 0, 255);
        }
    }
}

// R, G, B in levels to Y, U, V in 8-bit codes, offsets left out.
struct ToYuv {
    float yr, yg, yb, ur, ug, ub, vr, vg, vb;

    __device__ void operator()(float* values) const {
        const float r = values[0], g = values[1], b = values[2];
        values[0] = yr * r + yg * g + yb * b;
        values[1] = ur * r + ug * g + ub * b;
        values[2] = vr * r + vg * g + vb * b;
    }
};

// Four samples, those that are not in the frame left out, as the bytes of a word.
struct Four {
    byte* at[4];
    int count;
    bool whole;

    __device__ Four(byte* first, byte* second, int step, int count)
        : at{first, second, first + step, second + step}, count(count),
          whole(count == 4 && step == 2 && ((address_t)first & 3) == 0) {}

    __device__ unsigned int read() const {
        if (whole) return *(const unsigned int*)at[0];
        unsigned int word = 0;
        for (int k = 0; k < 4; ++k) {
            if (k < count) word |= (unsigned int)*at[k] << 8 * k;
        }
        return word;
    }

    __device__ void write(unsigned int before, unsigned int after) const {
        if (after == before) return;
        if (whole) {
            *(unsigned int*)at[0] = after;
            return;
        }
        for (int k = 0; k < 4; ++k) {
            if (k < count && ((before ^ after) >> 8 * k & 255)) *at[k] = (byte)(after >> 8 * k);
        }
    }
};

__device__ inline float byte_of(unsigned int word, int k) { return word >> 8 * k & 255; }

__device__ inline void add_to_byte(unsigned int& word, int k, float change) {
    const unsigned int sum = (unsigned int)clamped(byte_of(word, k) + rintf(change), 0.0f, 255.0f);
    word = (word & ~(255u << 8 * k)) | sum << 8 * k;
}

// A frame of NV12 or I420.
struct Planes {
    byte *luma, *chroma, *chroma_v;
    int pitch, chroma_pitch, width, height;
    Colour colour;
    ToYuv to_yuv;

    // Adds to the pixels at x, y, an even row. change: three for each of a row's PIXELS, then those of the next row.
    __device__ void add(int x, int y, const int* change) const {
        const int across = min(PIXELS, width - x), down = min(2, height - y);
        byte* row = luma + (address_t)y * pitch + x;
        const Four upper(row, row + 1, 2, across), lower(row + pitch, row + pitch + 1, 2, down == 2 ? across : 0);
        const address_t at = (address_t)(y / 2) * chroma_pitch + (FORMAT == 1 ? x : x / 2);
        byte* u = chroma + at;
        const Four uv(u, FORMAT == 1 ? u + 1 : chroma_v + at, FORMAT == 1 ? 2 : 1, (across + 1) / 2 * 2);
        const unsigned int before[3] = {upper.read(), lower.read(), uv.read()};
        unsigned int after[3] = {before[0], before[1], before[2]};
        for (int pair = 0; pair < PIXELS / 2; ++pair) {
            float shared_u = 0.0f, shared_v = 0.0f;
            for (int k = 0; k < 4; ++k) {
                const int i = 2 * pair + k % 2, j = k / 2;
                if (i >= across || j >= down) continue;
                float values[3] = {byte_of(before[j], i), byte_of(before[2], 2 * pair),
                                   byte_of(before[2], 2 * pair + 1)};
                carry(change + 3 * (PIXELS * j + i), values);
                add_to_byte(after[j], i, values[0]);
                shared_u += values[1], shared_v += values[2];
            }
            const int sharing = max(1, min(2, across - 2 * pair) * down);
            add_to_byte(after[2], 2 * pair, shared_u / sharing);
            add_to_byte(after[2], 2 * pair + 1, shared_v / sharing);
        }
        upper.write(before[0], after[0]);
        lower.write(before[1], after[1]);
        uv.write(before[2], after[2]);
    }

    // In place of a pixel's Y, U, V, what a change of its RGB is to them. RGB ends at black and white.
    __device__ void carry(const int* change, float* values) const {
        colour.to_rgb(values);
        for (int c = 0; c < 3; ++c) {
            const float level = clamped(rintf(values[c]), 0.0f, 255.0f);
            values[c] = clamped(level + change[c], 0.0f, 255.0f) - level;
        }
        to_yuv(values);
    }
};

// plane0 to plane2: uint8 [height, width, 3]; or Y [height, width] and UV, or Y, U and V, of half the size, rounded
// up. pitches: bytes from one row of a plane to the next. left, top, right, bottom: the part that may change, the
// last two exclusive; the grid's tiles begin at the last multiple of WIDE up to `left`, and of ROWS up to `top`.
// guard: uint8 [512, 512]. part_x to block: see Cells. xx to yt: frame pixels to cells. ry to black: see Colour. yr
// to vb: see ToYuv. Block THREADS. Shared memory: sixteen bytes for each cell under a tile.
extern "C" __global__ void paste(byte* plane0, byte* plane1, byte* plane2, int pitch0, int pitch1, int width,
                                 int height, int left, int top, int right, int bottom, const REAL* residual,
                                 const REAL* map, const byte* guard, int part_x, int part_y, int columns, int rows,
                                 int block, float xx, float xy, float xt, float yx, float yy, float yt, float amount,
                                 float ry, float ru, float rv, float gy, float gu, float gv, float by, float bu,
                                 float bv, float black, float yr, float yg, float yb, float ur, float ug, float ub,
                                 float vr, float vg, float vb) {
    extern __shared__ float4 shared[];
    const Layers layers = {residual, map, guard};
    const Cells cells = {part_x, part_y, columns, rows, block};
    const Affine inward = {xx, xy, xt, yx, yy, yt};
    const int x0 = left / WIDE * WIDE + blockIdx.x * WIDE, y0 = top / ROWS * ROWS + blockIdx.y * TALL;
    const Box box = cells_under(inward, x0, y0, WIDE, TALL, 0, -1, columns, rows);
    for (int k = threadIdx.x; k < box.width() * box.height(); k += THREADS) {
        shared[k] = cells.read(layers, box.x0 + k % box.width(), box.y0 + k / box.width());
    }
    __syncthreads();
    const int x = x0 + threadIdx.x % (WIDE / PIXELS) * PIXELS, y = y0 + threadIdx.x / (WIDE / PIXELS) * ROWS;
    int change[3 * PIXELS * ROWS] = {};
    for (int k = 0; k < PIXELS * ROWS; ++k) {
        const int u = x + k % PIXELS, v = y + k / PIXELS;
        if (u < left || u >= right || v < top || v >= bottom) continue;
        change_at(shared, box, inward.within(u, v, -1.0f, columns, rows), amount, change + 3 * k);
    }
    if (!changes(change)) return;
    if constexpr (FORMAT == 0) {
        byte* pixels = plane0 + (address_t)y * pitch0 + 3 * x;
        add_to_row(pixels, change, ((address_t)pixels & 3) == 0 && x + PIXELS <= width);
    } else {
        const Colour colour = {ry, ru, rv, gy, gu, gv, by, bu, bv, black};
        const ToYuv to_yuv = {yr, yg, yb, ur, ug, ub, vr, vg, vb};
        const Planes planes = {plane0, plane1, plane2, pitch0, pitch1, width, height, colour, to_yuv};
        planes.add(x, y, change);
    }
}

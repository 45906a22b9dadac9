// A residual carried back from the aligned face into the frame, in place: stream.composite.add_residual.
//
// A CUDA block does a tile of the frame. First its threads put what lies under it into shared memory: the
// residual in cells of block x block face pixels, and with it the guard. Then each thread does four pixels of a
// row: twelve bytes, read and written as three words, and only where some of them change.
//
// Compiled for REAL (half_t or float) and CELLS: 0 for a residual [3, 512, 512], 1 for the network's two factors,
// residual_cells [12, 256, 256] and map_cells [4, 256, 256] (export.contract).

constexpr int FACE = 512, WIDE = 32, TALL = 16, THREADS = 128, PIXELS = 4;

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

__device__ inline unsigned int added(unsigned int word, const int* change) {
    unsigned int sum = 0;
    for (int k = 0; k < 4; ++k) sum |= (unsigned int)clamped((int)(word >> 8 * k & 255) + change[k], 0, 255) << 8 * k;
    return sum;
}

// Adds to PIXELS pixels of a row; what is not to be changed has a change of 0.
__device__ inline void add_to_row(byte* pixels, const int* change, bool whole_words) {
    int any = 0;
    for (int k = 0; k < 3 * PIXELS; ++k) any |= change[k];
    if (!any) return;
    if (whole_words) {
        unsigned int* words = (unsigned int*)pixels;
        for (int k = 0; k < 3; ++k) words[k] = added(words[k], change + 4 * k);
    } else {
        for (int k = 0; k < 3 * PIXELS; ++k) {
            if (change[k]) pixels[k] = (byte)clamped(pixels[k] + change[k], 0, 255);
        }
    }
}

// frame: uint8 [height, width, 3], `pitch` bytes a row. left, top, right, bottom: the part that may change, the last
// two exclusive; the grid's tiles begin at the last multiple of WIDE up to `left`. guard: uint8 [512, 512].
// part_x to block: see Cells. xx to yt: frame pixels to cells. Block 128. Shared memory: sixteen bytes for each
// cell under a tile.
extern "C" __global__ void paste(byte* frame, int pitch, int width, int left, int top, int right, int bottom,
                                 const REAL* residual, const REAL* map, const byte* guard, int part_x, int part_y,
                                 int columns, int rows, int block, float xx, float xy, float xt, float yx, float yy,
                                 float yt, float amount) {
    extern __shared__ float4 shared[];
    const Layers layers = {residual, map, guard};
    const Cells cells = {part_x, part_y, columns, rows, block};
    const Affine inward = {xx, xy, xt, yx, yy, yt};
    const int x0 = left / WIDE * WIDE + blockIdx.x * WIDE, y0 = top + blockIdx.y * TALL;
    const Box box = cells_under(inward, x0, y0, WIDE, TALL, 0, -1, columns, rows);
    for (int k = threadIdx.x; k < box.width() * box.height(); k += THREADS) {
        shared[k] = cells.read(layers, box.x0 + k % box.width(), box.y0 + k / box.width());
    }
    __syncthreads();
    const int x = x0 + threadIdx.x % (WIDE / PIXELS) * PIXELS, y = y0 + threadIdx.x / (WIDE / PIXELS);
    if (y >= bottom) return;
    int change[3 * PIXELS] = {};
    for (int k = 0; k < PIXELS; ++k) {
        if (x + k < left || x + k >= right) continue;
        change_at(shared, box, inward.within(x + k, y, -1.0f, columns, rows), amount, change + 3 * k);
    }
    byte* pixels = frame + (address_t)y * pitch + 3 * x;
    add_to_row(pixels, change, ((address_t)pixels & 3) == 0 && x + PIXELS <= width);
}

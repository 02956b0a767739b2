// CLUE on a CUDA device: many events side by side, each with the result of the host's `clusterize`, bit for bit.
//
// Compile with --fmad=false and without fast math: sums, products, quotients and roots are rounded one by one, as the host
// rounds them. No #include, no library: NVRTC takes this file as it is. `on_host/shim.h` runs it on a CPU, for tests.
//
// # Launches: one, for many events of few points
//
//   memset bad to 0, then clue_small: e blocks of M threads rounded up to 32, 256 at most; 36 · M + 4 bytes of dynamic
//   shared memory. M: points of the largest event; best a few tens, and not more than 1024 (36 KiB; 48 need no asking for).
//
// # Launches: nine, for events of any size, from 1 of 10 M points to 1000 of 20 points
//
//   n: points; e: events; T = n / points_per_tile + e; G = T / 1024 + 1; S = n / 1024 + 1; P = (n + 255) / 256
//   Blocks have 256 threads (clue_scan and clue_number rely on it), no dynamic shared memory. No points: launch nothing.
//
//   | launch         | blocks         | reads → writes                                                                         |
//   |----------------|----------------|----------------------------------------------------------------------------------------|
//   | memset 0       |                | → tiles, tile_groups, seed_groups, box, done, bad (side by side in memory: one memset) |
//   | clue_bounds    | min(P, 1056)   | x, y, weight → grids, bad                                                              |
//   | clue_histogram | P              | x, y, grids → by_point, tiles (counts), tile_groups                                    |
//   | clue_scan      | G              | tile_groups, tiles (counts) → tiles (starts)                                           |
//   | clue_fill      | P              | by_point, tiles → by_tile (in any order within a tile)                                 |
//   | clue_sort      | P              | x, y, weight, by_tile, tiles → sorted                                                  |
//   | clue_density   | P              | sorted, tiles, grids → rho_sorted                                                      |
//   | clue_nearest   | P              | sorted, rho_sorted, tiles, grids → found, seed_groups                                  |
//   | clue_number    | S              | found, seed_groups → rho, delta, nearest_higher, is_seed, number                       |
//   | clue_assign    | P              | found, is_seed, number → cluster                                                       |
//
//   | scratch     | bytes     | aligned | may lie on                           |
//   |-------------|-----------|---------|--------------------------------------|
//   | tiles       | 4096 · G  | 16      |                                      |
//   | tile_groups | 4 · G     | 4       |                                      |
//   | seed_groups | 4 · S     | 4       |                                      |
//   | box         | 16 · e    | 4       |                                      |
//   | done        | 4 · e     | 4       |                                      |
//   | bad         | 4         | 4       |                                      |
//   | grids       | 32 · e    | 16      |                                      |
//   | by_point    | 8 · n     | 8       |                                      |
//   | by_tile     | 8 · n     | 8       |                                      |
//   | sorted      | 16 · n    | 16      |                                      |
//   | rho_sorted  | 4 · n     | 4       |                                      |
//   | found       | 16 · n    | 16      | by_point and by_tile, done with then |
//   | number      | 4 · n     | 4       | rho_sorted, done with then           |
//
// In: x, y, weight f32[n], events u32[e + 1] (the offsets of the events, events[e] = n).
// Out: rho, delta f32[n], nearest_higher, cluster i32[n], is_seed u8[n]; indices and cluster numbers local to the event.
// n + e < 2^31. Coordinates and radii share one unit; weight, rho and seed_density another. density_limit and
// outlier_limit are the host's `squared_limit` of the two radii. y_period is 0 if y is not periodic.
//
// A point that makes no sense (what the host's `validate` refuses): bad = ~(index of the first of them); 0 if there is
// none. Nothing is read or written out of bounds then, but what comes out means nothing: `validate` on the host names the
// point.
//
// # Why so
// Grids are planned on the device, from bounds found there: a core of the processor reads memory more slowly than the
// bus copies it to the device, so bounds found there would be the slowest step of large events. To save a launch,
// whoever adds the last points of an event to its bounds plans its grid. The host numbers tiles through the events; here
// the tiles of event e begin at events[e] / points_per_tile + e, which needs no scan over events: no event has more than
// max(points / points_per_tile, 1) tiles. What is left over between events are empty tiles, and no result depends on
// tile numbers.
//
// Densities must be summed in the host's order, so points are ascending within a tile: after the fill each point counts the
// lower ones of its tile. That is one look at each point of the tile, of which the density takes more. Everything else is
// independent of order: `nearest` is the least of a total order, counts are counts.

typedef unsigned int u32;
typedef unsigned long long u64;

// Blocks of scans: 256 threads, 4 elements each.
#define GROUP 1024u
#define ALL_LANES 0xffffffffu
#define FLOAT_MAX 3.402823466e+38f
#define FLOAT_MIN 1.175494351e-38f

// The tiles of one event, as the host's `Grid`.
struct alignas(16) Grid {
    u32 first_tile, n_x, n_y;
    float x_min, y_min, per_x, per_y, y_period;
};

struct alignas(16) Point {
    float x, y, weight;
    u32 index;
};

// What is found for a point. `follow` is the point that it follows, counted through the batch; itself for seeds and outliers.
struct alignas(16) Found {
    float rho, delta;
    int nearest_higher;
    u32 follow;
};

struct alignas(8) Slot {
    u32 tile, place;
};

struct alignas(8) Entry {
    u32 index, tile;
};

struct alignas(16) Four {
    u32 a, b, c, d;
};

// ---------------------------------------------------------------------------------------------------------------- events

// The event of a point: the last one that begins at or before it (those before that begin there too are empty).
__device__ u32 find_event(const u32* events, u32 n_events, u32 point) {
    u32 low = 0, high = n_events;
    while (high - low > 1) {
        const u32 middle = low + (high - low) / 2;
        if (events[middle] <= point) low = middle;
        else high = middle;
    }
    return low;
}

// What the host's `validate` accepts. Comparisons with NaN are false.
__device__ bool makes_sense(float x, float y, float weight, float y_period) {
    const float y_most = y_period != 0.0f ? y_period : FLOAT_MAX;
    return fabsf(x) <= FLOAT_MAX && fabsf(y) <= y_most && weight >= 0.0f && weight <= FLOAT_MAX;
}

// ----------------------------------------------------------------------------------------------------------------- grids

// An integer that compares as the number does, and is never 0: bounds start from 0, and one atomicMax serves all. The lower
// bound of v is the upper bound of -v.
__device__ u32 ordered(float value) {
    const u32 bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ float unordered(u32 key) {
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

// Adds a point to bounds, if it makes sense: the `ordered` upper bounds of -x, x, -y, y.
__device__ bool gather(float x, float y, float weight, float y_period, u32 box[4]) {
    if (!makes_sense(x, y, weight, y_period)) return false;
    const u32 point[4] = {ordered(-x), ordered(x), ordered(-y), ordered(y)};
    for (int side = 0; side < 4; side++) box[side] = max(box[side], point[side]);
    return true;
}

// The host's `divide`. The comparisons stand for a cast that saturates.
__device__ u32 divide(float extent, double wanted, u32 most, float* per_unit) {
    const u32 n = wanted >= (double)most ? most : wanted >= 1.0 ? (u32)wanted : 1;
    *per_unit = (float)n / extent;
    if (n > 1 && fabsf(extent) <= FLOAT_MAX && fabsf(*per_unit) <= FLOAT_MAX) return n;
    *per_unit = 0.0f;
    return 1;
}

// The host's `plan_grids`, for one event of `points` points. `box`: as `gather` fills it.
__device__ Grid plan_grid(const u32 box[4], u32 first_tile, u32 points, float density_radius, float y_period,
                          u32 points_per_tile) {
    Grid grid;
    const bool periodic = y_period != 0.0f;
    const float x_max = unordered(box[1]), y_max = periodic ? y_period : unordered(box[3]);
    grid.first_tile = first_tile;
    grid.x_min = -unordered(box[0]);
    grid.y_min = periodic ? 0.0f : -unordered(box[2]);
    grid.y_period = y_period;
    const u32 budget = points / points_per_tile > 1 ? points / points_per_tile : 1;
    const double width = (double)x_max - (double)grid.x_min, height = (double)y_max - (double)grid.y_min;
    const double least = 0.5 * (double)density_radius, fair = sqrt(width * height / (double)budget);
    const double side = fair > least ? fair : least;
    grid.n_x = divide(x_max - grid.x_min, width / side, budget, &grid.per_x);
    grid.n_y = divide(y_max - grid.y_min, height / side, budget / grid.n_x, &grid.per_y);
    return grid;
}

__device__ u32 column_of(const Grid& grid, float x) {
    return min(__float2uint_rz((x - grid.x_min) * grid.per_x), grid.n_x - 1);
}

__device__ float unwound(const Grid& grid, float y) {
    return grid.y_period != 0.0f && y < 0.0f ? y + grid.y_period : y;
}

__device__ u32 tile_in_column(const Grid& grid, float y) {
    return min(__float2uint_rz((unwound(grid, y) - grid.y_min) * grid.per_y), grid.n_y - 1);
}

__device__ u32 wrapped(int tile, u32 n) {
    const int rest = tile % (int)n;
    return (u32)(rest < 0 ? rest + (int)n : rest);
}

// The tiles [begin, end) of a column that a circle touches, then [0, wrapped) if it crosses the end of the period: the
// host's `tiles_in_column`, MARGIN included.
struct Window {
    u32 begin, end, wrapped;
};

#define MARGIN (1.0f / 1048576.0f)

template <bool PERIODIC>
__device__ Window window_of(const Grid& grid, float y, float radius) {
    if (!PERIODIC) {
        const float reach = radius * (1.0f + MARGIN);
        return {tile_in_column(grid, y - reach), tile_in_column(grid, y + reach) + 1, 0};
    }
    const float reach = (radius + grid.y_period * MARGIN) * (1.0f + MARGIN), at = unwound(grid, y);
    const float low = floorf((at - reach) * grid.per_y), high = floorf((at + reach) * grid.per_y);
    if (high - low + 1.0f >= (float)grid.n_y) return {0, grid.n_y, 0};
    const u32 begin = wrapped(__float2int_rz(low), grid.n_y), last = wrapped(__float2int_rz(high), grid.n_y);
    if (begin <= last) return {begin, last + 1, 0};
    return {begin, grid.n_y, last + 1};
}

// The difference of two y, folded to half a period if they are periodic.
template <bool PERIODIC>
__device__ float fold(float dy, float y_period) {
    return PERIODIC ? dy - y_period * roundf(dy / y_period) : dy;
}

template <bool PERIODIC>
__device__ float squared_distance(float x, float y, float x_other, float y_other, float y_period) {
    const float dx = x - x_other, dy = fold<PERIODIC>(y - y_other, y_period);
    return dx * dx + dy * dy;
}

// Hands out the runs [begin, end) of positions that a circle may touch, in the order of summation.
template <bool PERIODIC, class Visit>
__device__ void for_each_run(const Grid& grid, const u32* tiles, float x, float y, float radius, Visit visit) {
    const float reach = radius * (1.0f + MARGIN);
    const Window window = window_of<PERIODIC>(grid, y, radius);
    const u32 last = column_of(grid, x + reach);
    for (u32 column = column_of(grid, x - reach); column <= last; column++) {
        const u32* starts = tiles + grid.first_tile + column * grid.n_y;
        visit(starts[window.begin], starts[window.end]);
        if (PERIODIC && window.wrapped != 0) visit(starts[0], starts[window.wrapped]);
    }
}

// Adds `count` points of an event to its bounds; the last to do so plans the event's grid.
__device__ void contribute(const u32 box[4], u32 count, u32 event, const u32* events, float density_radius, float y_period,
                           u32 points_per_tile, u32* boxes, u32* done, Grid* grids) {
    for (int side = 0; side < 4; side++) atomicMax(&boxes[4 * event + side], box[side]);
    __threadfence();
    const u32 points = events[event + 1] - events[event];
    if (atomicAdd(&done[event], count) + count != points) return;
    __threadfence();
    u32 whole[4];
    // Not from a cache that the others' atomics have passed by.
    for (int side = 0; side < 4; side++) whole[side] = *(volatile u32*)&boxes[4 * event + side];
    const u32 first_tile = events[event] / points_per_tile + event;
    grids[event] = plan_grid(whole, first_tile, points, density_radius, y_period, points_per_tile);
}

// Checks the points, and plans the grids of events that have any. Each warp takes a stretch of points, and gathers as long
// as they belong to one event; points of further events that begin within 32 points are added one by one.
// Any number of blocks of any multiple of 32 threads.
extern "C" __global__ void __launch_bounds__(256)
clue_bounds(const float* x, const float* y, const float* weight, const u32* events, u32 n_events, u32 n,
            float density_radius, float y_period, u32 points_per_tile, u32* box, u32* done, Grid* grids, u32* bad) {
    const u32 lane = threadIdx.x % 32, warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const u32 warps = gridDim.x * blockDim.x / 32, steps = ((n + 31) / 32 + warps - 1) / warps;
    const u32 first = warp * steps * 32;
    if (first >= n) return;
    const u32 end = min(first + steps * 32, n);
    u32 event = find_event(events, n_events, first), count = 0;
    u32 gathered[4] = {0, 0, 0, 0};
    // All lanes go through the loop alike, once more after the last step to add what they have gathered.
    for (u32 step = first;; step += 32) {
        if (step >= end || step >= events[event + 1]) {
            for (int side = 0; side < 4; side++) gathered[side] = __reduce_max_sync(ALL_LANES, gathered[side]);
            if (lane == 0) {
                contribute(gathered, count, event, events, density_radius, y_period, points_per_tile, box, done, grids);
            }
            if (step >= end) return;
            while (step >= events[event + 1]) event++;
            count = 0;
            for (int side = 0; side < 4; side++) gathered[side] = 0;
        }
        count += min(step + 32, min(end, events[event + 1])) - step;
        const u32 point = step + lane;
        if (point >= end) continue;
        u32 here[4] = {0, 0, 0, 0};
        if (!gather(x[point], y[point], weight[point], y_period, here)) atomicMax(bad, ~point);
        u32 own = event;
        while (point >= events[own + 1]) own++;
        if (own == event) {
            for (int side = 0; side < 4; side++) gathered[side] = max(gathered[side], here[side]);
        } else {
            contribute(here, 1, own, events, density_radius, y_period, points_per_tile, box, done, grids);
        }
    }
}

// ----------------------------------------------------------------------------------------------------------------- tiles

// The tile of each point, and its place there in order of arrival. tiles: counts per tile; tile_groups: per 1024 tiles, so
// that the scan needs no second pass.
extern "C" __global__ void __launch_bounds__(256)
clue_histogram(const float* x, const float* y, const u32* events, u32 n_events, u32 n, const Grid* grids, Slot* by_point,
               u32* tiles, u32* tile_groups) {
    const u32 point = blockIdx.x * blockDim.x + threadIdx.x;
    const bool is_point = point < n;
    u32 group = 0;
    if (is_point) {
        const Grid grid = grids[find_event(events, n_events, point)];
        const u32 tile = grid.first_tile + column_of(grid, x[point]) * grid.n_y + tile_in_column(grid, y[point]);
        by_point[point] = {tile, atomicAdd(&tiles[tile], 1u)};
        group = tile / GROUP;
    }
    // In small batches all points meet in few groups: one atomic per warp then.
    const u32 points = __ballot_sync(ALL_LANES, is_point), first_group = __shfl_sync(ALL_LANES, group, 0);
    if (__all_sync(ALL_LANES, !is_point || group == first_group)) {
        if (threadIdx.x % 32 == 0 && points != 0) atomicAdd(&tile_groups[group], (u32)__popc(points));
    } else if (is_point) {
        atomicAdd(&tile_groups[group], 1u);
    }
}

// The sum over the warp's lower lanes.
__device__ u32 sum_of_lower_lanes(u32 value) {
    const u32 lane = threadIdx.x % 32;
    u32 sum = value;
    for (u32 reach = 1; reach < 32; reach *= 2) {
        const u32 lower = __shfl_up_sync(ALL_LANES, sum, reach);
        if (lane >= reach) sum += lower;
    }
    return sum - value;
}

// The sum of groups[0..n], for all threads of a block of 256.
__device__ u32 sum_of_groups(const u32* groups, u32 n) {
    __shared__ u32 sums[8];
    u32 sum = 0;
    for (u32 group = threadIdx.x; group < n; group += 256) sum += groups[group];
    sum = __reduce_add_sync(ALL_LANES, sum);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int warp = 0; warp < 8; warp++) sum += sums[warp];
    return sum;
}

// tiles: counts → the position of the first point of each tile, in place. A block scans one group.
extern "C" __global__ void __launch_bounds__(256) clue_scan(const u32* tile_groups, u32* tiles) {
    __shared__ u32 of_warp[8];
    Four* here = (Four*)tiles + blockIdx.x * 256 + threadIdx.x;
    const Four count = *here;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, sum = count.a + count.b + count.c + count.d;
    u32 start = sum_of_lower_lanes(sum);
    if (lane == 31) of_warp[warp] = start + sum;
    start += sum_of_groups(tile_groups, blockIdx.x);   // and everyone waits in there
    for (u32 before = 0; before < warp; before++) start += of_warp[before];
    *here = {start, start + count.a, start + count.a + count.b, start + count.a + count.b + count.c};
}

// by_tile: the points of each tile, in any order.
extern "C" __global__ void __launch_bounds__(256)
clue_fill(const Slot* by_point, const u32* tiles, u32 n, Entry* by_tile) {
    const u32 point = blockIdx.x * blockDim.x + threadIdx.x;
    if (point >= n) return;
    const Slot slot = by_point[point];
    by_tile[tiles[slot.tile] + slot.place] = {point, slot.tile};
}

// sorted: the points by tile, ascending within a tile; with what the search for neighbours reads, so that it reads in a row.
extern "C" __global__ void __launch_bounds__(256)
clue_sort(const float* x, const float* y, const float* weight, const Entry* by_tile, const u32* tiles, u32 n, Point* sorted) {
    const u32 position = blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= n) return;
    const Entry entry = by_tile[position];
    const u32 index = entry.index, begin = tiles[entry.tile], end = tiles[entry.tile + 1];
    u32 lower = 0;
    for (u32 other = begin; other < end; other++) lower += by_tile[other].index < index;
    sorted[begin + lower] = {x[index], y[index], weight[index], index};
}

// --------------------------------------------------------------------------------------------------------------- density

template <bool PERIODIC>
__device__ float density(const Point* sorted, const u32* tiles, const Grid& grid, u32 position, float radius, float limit) {
    const Point here = sorted[position];
    float sum = 0.0f;
    for_each_run<PERIODIC>(grid, tiles, here.x, here.y, radius, [&](u32 begin, u32 end) {
        for (u32 other = begin; other < end; other++) {
            const Point there = sorted[other];
            const float squared = squared_distance<PERIODIC>(here.x, here.y, there.x, there.y, grid.y_period);
            if (squared <= limit) sum += other == position ? there.weight : 0.5f * there.weight;
        }
    });
    return sum;
}

__device__ float density_of(const Point* sorted, const u32* tiles, const Grid& grid, u32 position, float radius,
                            float limit) {
    return grid.y_period != 0.0f ? density<true>(sorted, tiles, grid, position, radius, limit)
                                 : density<false>(sorted, tiles, grid, position, radius, limit);
}

// The local density of each point, in the order of `sorted`.
extern "C" __global__ void __launch_bounds__(256)
clue_density(const Point* sorted, const u32* tiles, const Grid* grids, const u32* events, u32 n_events, u32 n,
             float density_radius, float density_limit, float* rho_sorted) {
    const u32 position = blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= n) return;
    // The points of an event take the same positions as in the batch, in another order.
    const Grid grid = grids[find_event(events, n_events, position)];
    rho_sorted[position] = density_of(sorted, tiles, grid, position, density_radius, density_limit);
}

// -------------------------------------------------------------------------------------------------------- nearest higher

// One integer that compares as "higher" does: densities are not negative, so they compare as their bits do.
__device__ u64 rank_of(float rho, u32 index) {
    return (u64)__float_as_uint(rho) << 32 | index;
}

// The nearest higher point so far, and the square within which a better one lies.
struct Nearest {
    float distance;
    u64 rank;
    float limit;

    __device__ void consider(float squared, u64 other) {
        const float found = sqrtf(squared);
        if (found < distance || (found == distance && other > rank)) {
            distance = found;
            rank = other;
            // A little too wide, because different squares can have the same rounded root.
            limit = fminf(limit, squared * (1.0f + 4.0f * 1.1920928955078125e-7f) + FLOAT_MIN);
        }
    }
};

#define NONE __uint_as_float(0x7f800000u)   // infinity: the distance to a nearest higher point that is not there

template <bool PERIODIC>
__device__ Nearest nearest_within(const Point* sorted, const float* rho_sorted, const u32* tiles, const Grid& grid,
                                  u32 position, float radius, float limit) {
    const Point here = sorted[position];
    const u64 rank = rank_of(rho_sorted[position], here.index);
    Nearest nearest = {NONE, 0, limit};
    for_each_run<PERIODIC>(grid, tiles, here.x, here.y, radius, [&](u32 begin, u32 end) {
        for (u32 other = begin; other < end; other++) {
            const Point there = sorted[other];
            const float squared = squared_distance<PERIODIC>(here.x, here.y, there.x, there.y, grid.y_period);
            if (squared <= nearest.limit) {
                const u64 higher = rank_of(rho_sorted[other], there.index);
                if (higher > rank) nearest.consider(squared, higher);
            }
        }
    });
    return nearest;
}

__device__ Nearest nearest_of(const Point* sorted, const float* rho_sorted, const u32* tiles, const Grid& grid, u32 position,
                              float density_radius, float density_limit, float outlier_radius, float outlier_limit) {
    Nearest nearest = {NONE, 0, 0.0f};
    // Most points find a higher one within the density radius. Nothing beyond it can be nearer.
    for (int wide = 0; wide < 2 && nearest.distance == NONE; wide++) {
        const float radius = wide ? outlier_radius : density_radius, limit = wide ? outlier_limit : density_limit;
        nearest = grid.y_period != 0.0f
                      ? nearest_within<true>(sorted, rho_sorted, tiles, grid, position, radius, limit)
                      : nearest_within<false>(sorted, rho_sorted, tiles, grid, position, radius, limit);
    }
    return nearest;
}

// The nearest higher point of each point; found: in the order of the points, in one piece, because they are written here and
// there. seed_groups: seeds per 1024 points.
extern "C" __global__ void __launch_bounds__(256)
clue_nearest(const Point* sorted, const float* rho_sorted, const u32* tiles, const Grid* grids, const u32* events,
             u32 n_events, u32 n, float density_radius, float density_limit, float outlier_radius, float outlier_limit,
             float seed_density, Found* found, u32* seed_groups) {
    const u32 position = blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= n) return;
    const u32 event = find_event(events, n_events, position), index = sorted[position].index;
    const Grid grid = grids[event];
    const float rho = rho_sorted[position];
    const Nearest nearest = nearest_of(sorted, rho_sorted, tiles, grid, position, density_radius, density_limit,
                                       outlier_radius, outlier_limit);
    const bool is_seed = nearest.distance > density_radius && rho >= seed_density, is_alone = nearest.distance == NONE;
    const u32 higher = (u32)nearest.rank;
    found[index] = {rho, nearest.distance, is_alone ? -1 : (int)(higher - events[event]), is_seed || is_alone ? index : higher};
    if (is_seed) atomicAdd(&seed_groups[index / GROUP], 1u);
}

// -------------------------------------------------------------------------------------------------------------- clusters

// Puts what was found into columns; number: how many seeds come before a point in the batch. A block takes 1024 points.
extern "C" __global__ void __launch_bounds__(256)
clue_number(const Found* found, const u32* seed_groups, u32 n, float density_radius, float seed_density, float* rho,
            float* delta, int* nearest_higher, unsigned char* is_seed, u32* number) {
    __shared__ u32 counts[32];   // of 32 points each, in the order of the points
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * GROUP + threadIdx.x;
    u32 seeds[4];
    for (u32 round = 0; round < 4; round++) {
        const u32 point = first + 256 * round;
        bool seed = false;
        if (point < n) {
            const Found here = found[point];
            seed = here.delta > density_radius && here.rho >= seed_density;
            rho[point] = here.rho;
            delta[point] = here.delta;
            nearest_higher[point] = here.nearest_higher;
            is_seed[point] = seed;
        }
        seeds[round] = __ballot_sync(ALL_LANES, seed);
        if (lane == 0) counts[8 * round + warp] = (u32)__popc(seeds[round]);
    }
    const u32 in_groups = sum_of_groups(seed_groups, blockIdx.x);   // and everyone waits in there
    const u32 before = in_groups + sum_of_lower_lanes(counts[lane]);
    for (u32 round = 0; round < 4; round++) {
        const u32 point = first + 256 * round;
        const u32 sum = __shfl_sync(ALL_LANES, before, 8 * round + warp) + (u32)__popc(seeds[round] & ((1u << lane) - 1));
        if (point < n) number[point] = sum;
    }
}

// cluster: the number of the seed that a point's chain ends at, or -1 for an outlier. The walks shorten the chains for each
// other (path halving): whatever of it a walk sees, it stays on its chain.
extern "C" __global__ void __launch_bounds__(256)
clue_assign(Found* found, const unsigned char* is_seed, const u32* number, const u32* events, u32 n_events, u32 n,
            int* cluster) {
    const u32 point = blockIdx.x * blockDim.x + threadIdx.x;
    if (point >= n) return;
    volatile Found* chain = found;
    u32 at = point, next = chain[at].follow;
    for (u32 after = chain[next].follow; after != next; after = chain[next].follow) {
        chain[at].follow = after;
        at = after;
        next = chain[at].follow;
    }
    const u32 first = events[find_event(events, n_events, point)];
    cluster[point] = is_seed[next] ? (int)(number[next] - number[first]) : -1;
}

// ---------------------------------------------------------------------------------------------------------- small events

#ifndef ON_HOST
#define DYNAMIC_SHARED(T, name) extern __shared__ T name[]
#endif

// All of the above for one event per block, in shared memory: 36 bytes per point, and 4. The steps that compute are the same
// functions; what groups and counts is brute force, which is quick for so few.
extern "C" __global__ void __launch_bounds__(256)
clue_small(const float* x, const float* y, const float* weight, const u32* events, float density_radius,
           float density_limit, float outlier_radius, float outlier_limit, float seed_density, float y_period,
           u32 points_per_tile, float* rho, float* delta, int* nearest_higher, unsigned char* is_seed, int* cluster,
           u32* bad) {
    __shared__ u32 box[4];
    DYNAMIC_SHARED(Point, sorted);
    const u32 first = events[blockIdx.x], n = events[blockIdx.x + 1] - first;
    if (n == 0) return;
    float* const rho_sorted = (float*)(sorted + n);
    u32* const follow = (u32*)(rho_sorted + n);
    u32* const number = follow + n;
    u32* const tile_of = number + n;
    u32* const seed = tile_of;       // in its turn
    u32* const tiles = seed + n;     // the start of each, and the end: there are no more tiles than points

    if (threadIdx.x < 4) box[threadIdx.x] = 0;
    __syncthreads();
    u32 gathered[4] = {0, 0, 0, 0};
    for (u32 point = threadIdx.x; point < n; point += blockDim.x) {
        if (!gather(x[first + point], y[first + point], weight[first + point], y_period, gathered)) {
            atomicMax(bad, ~(first + point));
        }
    }
    for (int side = 0; side < 4; side++) {
        const u32 most = __reduce_max_sync(ALL_LANES, gathered[side]);
        if (threadIdx.x % 32 == 0) atomicMax(&box[side], most);
    }
    __syncthreads();
    const Grid grid = plan_grid(box, 0, n, density_radius, y_period, points_per_tile);

    for (u32 point = threadIdx.x; point < n; point += blockDim.x) {
        tile_of[point] = column_of(grid, x[first + point]) * grid.n_y + tile_in_column(grid, y[first + point]);
    }
    __syncthreads();
    for (u32 tile = threadIdx.x; tile <= grid.n_x * grid.n_y; tile += blockDim.x) {
        u32 lower = 0;
        for (u32 other = 0; other < n; other++) lower += tile_of[other] < tile;
        tiles[tile] = lower;
    }
    for (u32 point = threadIdx.x; point < n; point += blockDim.x) {
        const u32 tile = tile_of[point];
        u32 position = 0;
        for (u32 other = 0; other < n; other++) {
            position += tile_of[other] < tile || (tile_of[other] == tile && other < point);
        }
        sorted[position] = {x[first + point], y[first + point], weight[first + point], point};
    }
    __syncthreads();

    for (u32 position = threadIdx.x; position < n; position += blockDim.x) {
        rho_sorted[position] = density_of(sorted, tiles, grid, position, density_radius, density_limit);
    }
    __syncthreads();
    for (u32 position = threadIdx.x; position < n; position += blockDim.x) {
        const u32 point = sorted[position].index;
        const Nearest nearest = nearest_of(sorted, rho_sorted, tiles, grid, position, density_radius, density_limit,
                                           outlier_radius, outlier_limit);
        const bool is_alone = nearest.distance == NONE;
        seed[point] = nearest.distance > density_radius && rho_sorted[position] >= seed_density;
        follow[point] = seed[point] || is_alone ? point : (u32)nearest.rank;
        rho[first + point] = rho_sorted[position];
        delta[first + point] = nearest.distance;
        nearest_higher[first + point] = is_alone ? -1 : (int)nearest.rank;
        is_seed[first + point] = (unsigned char)seed[point];
    }
    __syncthreads();
    for (u32 point = threadIdx.x; point < n; point += blockDim.x) {
        u32 lower = 0;
        if (seed[point]) {
            for (u32 other = 0; other < point; other++) lower += seed[other];
        }
        number[point] = lower;
    }
    __syncthreads();
    for (u32 point = threadIdx.x; point < n; point += blockDim.x) {
        u32 end = point;
        while (follow[end] != end) end = follow[end];
        cluster[first + point] = seed[end] ? (int)number[end] : -1;
    }
}

#ifdef ON_HOST
HOST_KERNEL(clue_small)
HOST_KERNEL(clue_bounds)
HOST_KERNEL(clue_histogram)
HOST_KERNEL(clue_scan)
HOST_KERNEL(clue_fill)
HOST_KERNEL(clue_sort)
HOST_KERNEL(clue_density)
HOST_KERNEL(clue_nearest)
HOST_KERNEL(clue_number)
HOST_KERNEL(clue_assign)
#endif

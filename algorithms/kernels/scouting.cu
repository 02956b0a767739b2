// Clusters of trigger candidates and what the τ tagger sees of them, on a CUDA device: many events side by side, each with the
// result of the host's `measure_clusters` and `compute_features`, where CLUE's kernels have left the groups.
//
// Compile with --fmad=false and without fast math. No #include, no library. `on_host/shim.h` runs it on a CPU, for tests.
// Each sum is one thread's, over the candidates in ascending order, as the host adds them: all results are the host's to the bit,
// but for two numbers of which the device has its own functions: log_pt (logf: 2 units in the last place), and mass_gev
// (cosh, sinh, cos, sin in double; 1e-6 of Σ pT + mass, because it is the root of a small difference).
//
// # Launch: one
//
//   scouting_measure: e blocks of threads rounded up to 32, 256 at most; best as many as the largest event has candidates.
//
// e: events; n: candidates; r: rows, of which each event has as many as it can have clusters; s: stride of the features, r at least.
//
// | in              |              |                                                                                     |
// |-----------------|--------------|-------------------------------------------------------------------------------------|
// | eta, phi        | f32[n]       | in steps: whole numbers, as CLUE has them                                           |
// | pt, z0, dxy, weight | f32[n]   |                                                                                     |
// | pid             | u32[n]       |                                                                                     |
// | events, rows    | u32[e + 1]   | offsets: where the candidates and the rows of each event begin                      |
// | is_seed, cluster | u8, i32[n]  | CLUE's                                                                              |
// | bad             | u32          | CLUE's: not 0 if what it gave means nothing; then there are no clusters here                |
//
// | out             |              |                                                                                     |
// |-----------------|--------------|-------------------------------------------------------------------------------------|
// | features        | f32[16][s]   | written where there are clusters only: zero before                                  |
// | clusters        | 32 bit [7][r] | pt, eta, phi (f32), lead, size, charged (u32), charge (i32)                        |
// | members         | u32[n]       | of each event, from its first candidate on: the candidates of each cluster, ascending |
// | counts          | u32[e]       | clusters; those beyond the event's rows are counted, and not written                |
//
// Scratch: notes, 64 · n bytes, aligned to 16.

typedef unsigned int u32;

#define FEATURES 16
#define STEPS_PER_TURN 1440
#define ANGLE_STEP (3.14159265358979323846f / 720.0f)
#define ANGLE_STEP_DOUBLE (3.14159265358979323846 / 720.0)
#define NONE 0xffffffffu

struct Candidates {
    const float *eta, *phi, *pt, *z0, *dxy, *weight;
    const u32* pid;
    u32 n;
};

// What is found out about a candidate, for the other threads.
struct alignas(16) Note {
    // Of a seed: of its group.
    float pt;
    u32 size, lead, row, begin;
    // Of the group that has the candidate's number: its lead, or NONE if there is no such cluster.
    u32 lead_of_group;
    // Of a member of a cluster: seen from its lead.
    float distance;
    double momentum[4];
};

// ------------------------------------------------------------------------------------------------------------ candidates

__device__ int charge_of(u32 pid) {
    return pid >= 2 && pid < 8 ? 2 * (int)(pid & 1) - 1 : 0;
}

__device__ int wrap(int steps) {
    const int rest = (steps + STEPS_PER_TURN / 2) % STEPS_PER_TURN;
    return (rest < 0 ? rest + STEPS_PER_TURN : rest) - STEPS_PER_TURN / 2;
}

__device__ int eta_between(const Candidates& all, u32 a, u32 b) {
    return (int)all.eta[a] - (int)all.eta[b];
}

__device__ int phi_between(const Candidates& all, u32 a, u32 b) {
    return wrap((int)all.phi[a] - (int)all.phi[b]);
}

__device__ float distance_between(const Candidates& all, u32 a, u32 b) {
    const int d_eta = eta_between(all, a, b), d_phi = phi_between(all, a, b);
    return sqrtf((float)(d_eta * d_eta + d_phi * d_phi)) * ANGLE_STEP;
}

// ---------------------------------------------------------------------------------------------------------------- groups

// Σ pT, the number of members and the lead of the seed's group.
__device__ void sum_group(const Candidates& all, const int* cluster, u32 seed, Note* note) {
    float pt = 0.0f;
    u32 size = 0, lead = NONE;
    for (u32 member = 0; member < all.n; member++) {
        if (cluster[member] != cluster[seed]) continue;
        pt += all.pt[member];
        size++;
        if (lead == NONE || all.pt[member] > all.pt[lead]) lead = member;
    }
    note->pt = pt;
    note->size = size;
    note->lead = lead;
}

// Which row the seed's cluster takes among those of its event, and where its members begin: after those with more pT. CLUE numbers
// groups by their seeds, so of equal ones the lower seed comes first.
__device__ void place_cluster(Note* notes, const unsigned char* is_seed, u32 n, u32 seed) {
    Note* const own = &notes[seed];
    u32 row = 0, begin = 0;
    for (u32 other = 0; other < n; other++) {
        if (!is_seed[other]) continue;
        if (notes[other].pt > own->pt || (notes[other].pt == own->pt && other < seed)) {
            row++;
            begin += notes[other].size;
        }
    }
    own->row = row;
    own->begin = begin;
}

// The host's `measure`. `at`: the cluster's place in each column of n_rows.
__device__ void measure_cluster(const Candidates& all, const int* cluster, u32 seed, const Note& note, float* clusters,
                                size_t n_rows, u32 at) {
    const u32 lead = note.lead;
    float eta_sum = 0.0f, phi_sum = 0.0f;
    int charge = 0, charged = 0;
    for (u32 member = 0; member < all.n; member++) {
        if (cluster[member] != cluster[seed]) continue;
        eta_sum += all.pt[member] * (float)eta_between(all, member, lead);
        phi_sum += all.pt[member] * (float)phi_between(all, member, lead);
        charge += charge_of(all.pid[member]);
        charged += charge_of(all.pid[member]) != 0;
    }
    const float turn = (float)STEPS_PER_TURN, phi = all.phi[lead] + phi_sum / note.pt;
    u32* const whole = (u32*)clusters;
    clusters[at] = note.pt;
    clusters[n_rows + at] = all.eta[lead] + eta_sum / note.pt;
    clusters[2 * n_rows + at] = phi - turn * roundf(phi / turn);
    whole[3 * n_rows + at] = lead;
    whole[4 * n_rows + at] = note.size;
    whole[5 * n_rows + at] = (u32)charged;
    whole[6 * n_rows + at] = (u32)charge;
}

// A member as its cluster's lead sees it. One thread for each: the functions take longer than the sums.
__device__ void view_from_lead(const Candidates& all, u32 member, u32 lead, Note* note) {
    const double pt = (double)all.pt[member];
    const double d_eta = ANGLE_STEP_DOUBLE * (double)eta_between(all, member, lead);
    const double d_phi = ANGLE_STEP_DOUBLE * (double)phi_between(all, member, lead);
    note->distance = distance_between(all, member, lead);
    note->momentum[0] = pt * cosh(d_eta);
    note->momentum[1] = pt * cos(d_phi);
    note->momentum[2] = pt * sin(d_phi);
    note->momentum[3] = pt * sinh(d_eta);
}

// -------------------------------------------------------------------------------------------------------------- features

__device__ float mean(float sum, u32 n, float none) {
    return n == 0 ? none : sum / (float)n;
}

// pT of all candidates around the lead, in the cluster or not.
__device__ float pt_around(const Candidates& all, u32 lead) {
    float sum = 0.0f;
    for (u32 other = 0; other < all.n; other++) {
        const float distance = distance_between(all, lead, other);
        if (0.2f < distance && distance < 0.4f) sum += all.pt[other];
    }
    return sum;
}

// The host's `features`, of the cluster whose members are these. `out`: its place in the first column.
__device__ void compute_features(const Candidates& all, const Note* notes, const Note& own, const u32* members, float* out,
                                 size_t stride) {
    float charged_pt = 0.0f, photon_pt = 0.0f, width = 0.0f, radius = 0.0f, spread = 0.0f, dxy = 0.0f, weight = 0.0f;
    double momentum[4] = {0.0, 0.0, 0.0, 0.0};
    u32 charged = 0, photons = 0, neutral = 0, track = NONE;
    int charge = 0;
    for (u32 i = 0; i < own.size; i++) {
        const u32 member = members[i];
        const float pt = all.pt[member], distance = notes[member].distance;
        const int charge_of_member = charge_of(all.pid[member]);
        charge += charge_of_member;
        width += pt * distance;
        if (distance > radius) radius = distance;
        for (int part = 0; part < 4; part++) momentum[part] += notes[member].momentum[part];
        if (charge_of_member != 0) {
            charged++;
            charged_pt += pt;
            dxy += fabsf(all.dxy[member]);
            if (track == NONE || pt > all.pt[track]) track = member;
        } else {
            neutral++;
            weight += all.weight[member];
        }
        if (all.pid[member] == 1) {
            photons++;
            photon_pt += pt;
        }
    }
    for (u32 i = 0; i < own.size; i++) {
        if (charge_of(all.pid[members[i]]) != 0) spread += fabsf(all.z0[members[i]] - all.z0[track]);
    }
    const double squared = momentum[0] * momentum[0] - momentum[1] * momentum[1] - momentum[2] * momentum[2] -
                           momentum[3] * momentum[3];
    const float features[FEATURES] = {
        logf(own.pt),
        all.pt[own.lead] / own.pt,
        fabsf(all.eta[own.lead] * ANGLE_STEP),
        (float)own.size,
        (float)charged,
        (float)photons,
        charged_pt / own.pt,
        photon_pt / own.pt,
        width / own.pt,
        radius,
        (float)sqrt(squared > 0.0 ? squared : 0.0),
        mean(spread, charged, 0.0f),
        mean(dxy, charged, 0.0f),
        pt_around(all, own.lead) / own.pt,
        mean(weight, neutral, 1.0f),
        (float)(charge < 0 ? -charge : charge),
    };
    for (int feature = 0; feature < FEATURES; feature++) out[feature * stride] = features[feature];
}

// ---------------------------------------------------------------------------------------------------------------- kernel

extern "C" __global__ void __launch_bounds__(256)
scouting_measure(const float* eta, const float* phi, const float* pt, const float* z0, const float* dxy, const float* weight,
                 const u32* pid, const u32* events, const u32* rows, const unsigned char* is_seed, const int* cluster,
                 const u32* bad, float pt_min, u32 n_rows, u32 stride, Note* notes, float* features, float* clusters,
                 u32* members, u32* counts) {
    __shared__ u32 count;
    // What CLUE gives means nothing if any candidate of the batch makes no sense.
    const u32 first = events[blockIdx.x], n = *bad == 0 ? events[blockIdx.x + 1] - first : 0;
    const u32 first_row = rows[blockIdx.x], rows_max = rows[blockIdx.x + 1] - first_row;
    const Candidates all = {eta + first, phi + first, pt + first, z0 + first, dxy + first, weight + first, pid + first, n};
    is_seed += first;
    cluster += first;
    notes += first;
    members += first;

    if (threadIdx.x == 0) count = 0;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        notes[i].lead_of_group = NONE;
        if (is_seed[i]) sum_group(all, cluster, i, &notes[i]);
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        // Not with NaN.
        if (!is_seed[i] || !(notes[i].pt >= pt_min)) continue;
        atomicAdd(&count, 1u);
        place_cluster(notes, is_seed, n, i);
        if (notes[i].row >= rows_max) continue;
        measure_cluster(all, cluster, i, notes[i], clusters, n_rows, first_row + notes[i].row);
        if ((u32)cluster[i] < n) notes[(u32)cluster[i]].lead_of_group = notes[i].lead;
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        const u32 lead = (u32)cluster[i] < n ? notes[(u32)cluster[i]].lead_of_group : NONE;
        if (lead != NONE) view_from_lead(all, i, lead, &notes[i]);
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        if (!is_seed[i] || !(notes[i].pt >= pt_min) || notes[i].row >= rows_max) continue;
        u32* const own = members + notes[i].begin;
        u32 found = 0;
        for (u32 member = 0; member < n; member++) {
            if (cluster[member] == cluster[i]) own[found++] = member;
        }
        compute_features(all, notes, notes[i], own, features + first_row + notes[i].row, stride);
    }
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

#ifdef ON_HOST
HOST_KERNEL(scouting_measure)
#endif

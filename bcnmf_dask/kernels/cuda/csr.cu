// One visit of the stored values of CSR rows on a CUDA device; see `bcnmf_dask.kernels.csr` for the same on a CPU.
//
// A team of warps takes a line: a row to step its usages, a column (of a copy sorted by columns) to sum its statistics.
// So every sum has one owner and a fixed order: no atomics, the same bits in every run. Lines that are chosen for a
// launch are given by their numbers, all of them by none. Within a team, LANES threads share a stored value, each with
// every LANES-th component in registers: what they gather lies together in memory.
//
// Compiled for REAL (of factors), VALUE, INDEX and POINTER (as stored), COMPONENTS, LANES (a power of two, at most 32)
// and TEAM (warps: a power of two of at most 16).

constexpr int THREADS = TEAM > 4 ? 32 * TEAM : 128;
constexpr int TEAM_THREADS = 32 * TEAM;
constexpr int GROUPS = TEAM_THREADS / LANES;  // stored values that a team has in hand at once
constexpr int PARTS = (COMPONENTS + LANES - 1) / LANES;
constexpr int AHEAD = PARTS <= 2 ? 4 : 2;  // stored values of a group whose factors are fetched before the first is used
constexpr int EXACT_EVERY = 64;            // rounds after which sums in REAL go on in double
constexpr unsigned ALL = 0xffffffffu;

struct Components {
    REAL part[PARTS];
};

struct Team {
    int lane, group;
    bool mine;  // whether there is a line for this team: if not, it goes along, as threads of a block wait for each other
    long long line;

    __device__ Team(long long n_lines, const int* chosen)
        : lane(threadIdx.x % LANES), group(threadIdx.x % TEAM_THREADS / LANES) {
        const long long place =
            static_cast<long long>(blockIdx.x) * (THREADS / TEAM_THREADS) + threadIdx.x / TEAM_THREADS;
        mine = place < n_lines;
        line = !mine ? 0 : chosen ? chosen[place] : place;
    }

    __device__ Components load(const REAL* factor, long long row) const {
        Components found;
        for (int part = 0; part < PARTS; ++part) {
            const int component = part * LANES + lane;
            found.part[part] = component < COMPONENTS ? factor[row * COMPONENTS + component] : REAL(0);
        }
        return found;
    }

    template <typename NUMBER>
    __device__ void store(NUMBER* factor, long long row, const NUMBER (&parts)[PARTS]) const {
        for (int part = 0; part < PARTS; ++part) {
            const int component = part * LANES + lane;
            if (group == 0 && component < COMPONENTS) factor[row * COMPONENTS + component] = parts[part];
        }
    }

    // The sum over all groups of the team, for each of its threads: first within warps, then over them in their order.
    template <typename NUMBER>
    __device__ NUMBER over_groups(NUMBER number) const {
        for (int far = LANES; far < 32; far *= 2) number += __shfl_xor_sync(ALL, number, far);
        if (TEAM == 1) return number;
        __shared__ NUMBER of_warps[THREADS / 32][LANES];
        const int warp = threadIdx.x / 32, first = warp / TEAM * TEAM;
        if (threadIdx.x % 32 < LANES) of_warps[warp][lane] = number;
        __syncthreads();
        number = of_warps[first][lane];
        for (int other = 1; other < TEAM; ++other) number += of_warps[first + other][lane];
        __syncthreads();
        return number;
    }
};

__device__ REAL dot(const Components& left, const Components& right) {
    REAL sum = 0;
    for (int part = 0; part < PARTS; ++part) sum += left.part[part] * right.part[part];
    for (int far = 1; far < LANES; far *= 2) sum += __shfl_xor_sync(ALL, sum, far);
    return sum;
}

__device__ REAL power(REAL ratio, REAL exponent) {
    if (exponent == REAL(1)) return ratio;
    if (exponent == REAL(0.5)) return sqrt(ratio);
    if (exponent == REAL(1.25)) return ratio * sqrt(sqrt(ratio));
    return pow(ratio, exponent);
}

// Calls `add(value, factors, index)` for the stored values of a line, with the row of `factor` that each belongs to and
// its number; every thread of a warp as often, as they exchange numbers. Where no value is left the value is zero.
template <typename Add>
__device__ void visit(const Team& team, const POINTER* pointers, const INDEX* indices, const VALUE* values,
                      const REAL* factor, Add add) {
    const long long first = pointers[team.line], behind = team.mine ? pointers[team.line + 1] : first;
    for (long long start = first; start < behind; start += AHEAD * GROUPS) {
        REAL value[AHEAD];
        Components factors[AHEAD];
        INDEX index[AHEAD];
        for (int ahead = 0; ahead < AHEAD; ++ahead) {
            const long long place = start + ahead * GROUPS + team.group;
            const bool inside = place < behind;
            value[ahead] = inside ? REAL(values[place]) : REAL(0);
            index[ahead] = inside ? indices[place] : static_cast<INDEX>(0);
            factors[ahead] = team.load(factor, index[ahead]);
        }
        for (int ahead = 0; ahead < AHEAD; ++ahead) add(value[ahead], factors[ahead], index[ahead]);
    }
}

// The published step, see `bcnmf_dask.updates.multiplicative.multiply`.
__device__ void multiply(Components& usages, const Components& numerators, const Components& denominators, REAL eps,
                         REAL exponent) {
    for (int part = 0; part < PARTS; ++part)
        usages.part[part] *= power(numerators.part[part] / (denominators.part[part] + eps), exponent);
}

extern "C" __global__ void step_kullback_leibler(long long n_lines, const int* chosen, const POINTER* pointers,
                                                 const INDEX* indices, const VALUE* values, const REAL* usages,
                                                 const REAL* basis, const REAL* sums, const REAL* floor, REAL eps,
                                                 REAL exponent, int times, REAL* fresh) {
    const Team team(n_lines, chosen);
    Components now = team.load(usages, team.line);
    const Components denominators = team.load(sums, 0);
    for (int step = 0; step < times; ++step) {
        Components numerators = {};
        visit(team, pointers, indices, values, basis, [&](REAL value, const Components& features, INDEX index) {
            const REAL quotient = value / (dot(now, features) + floor[index]);
            for (int part = 0; part < PARTS; ++part) numerators.part[part] += quotient * features.part[part];
        });
        for (int part = 0; part < PARTS; ++part) numerators.part[part] = team.over_groups(numerators.part[part]);
        multiply(now, numerators, denominators, eps, exponent);
    }
    if (team.mine) team.store(fresh, team.line, now.part);
}

extern "C" __global__ void step_frobenius(long long n_lines, const int* chosen, const POINTER* pointers,
                                          const INDEX* indices, const VALUE* values, const REAL* usages,
                                          const REAL* basis, const REAL* gram, REAL eps, REAL exponent, int times,
                                          REAL* fresh) {
    const Team team(n_lines, chosen);
    Components now = team.load(usages, team.line);
    Components numerators = {};
    visit(team, pointers, indices, values, basis, [&](REAL value, const Components& features, INDEX) {
        for (int part = 0; part < PARTS; ++part) numerators.part[part] += value * features.part[part];
    });
    for (int part = 0; part < PARTS; ++part) numerators.part[part] = team.over_groups(numerators.part[part]);
    for (int step = 0; step < times; ++step) {
        Components denominators = {};
        for (int component = 0; component < COMPONENTS; ++component) {
            const REAL usage = __shfl_sync(ALL, now.part[component / LANES], component % LANES, LANES);
            const Components products = team.load(gram, component);
            for (int part = 0; part < PARTS; ++part) denominators.part[part] += usage * products.part[part];
        }
        multiply(now, numerators, denominators, eps, exponent);
    }
    if (team.mine) team.store(fresh, team.line, now.part);
}

// What a column adds up to: in REAL for a while, then in double.
struct Sums {
    double exact[PARTS] = {};
    Components recent = {};
    double data_term = 0;
    int rounds = 0;

    __device__ void add(REAL factor, const Components& usages) {
        for (int part = 0; part < PARTS; ++part) recent.part[part] += factor * usages.part[part];
        if (++rounds % EXACT_EVERY == 0) settle();
    }

    __device__ void settle() {
        for (int part = 0; part < PARTS; ++part) {
            exact[part] += recent.part[part];
            recent.part[part] = 0;
        }
    }

    __device__ void store(const Team& team, double* cross, double* data_terms) {
        settle();
        for (int part = 0; part < PARTS; ++part) exact[part] = team.over_groups(exact[part]);
        const double whole = team.over_groups(data_term);  // the same in every lane of a group
        if (!team.mine) return;
        team.store(cross, team.line, exact);
        if (threadIdx.x % TEAM_THREADS == 0) data_terms[team.line] = whole;
    }
};

extern "C" __global__ void sum_kullback_leibler(long long n_lines, const int* chosen, const POINTER* pointers,
                                                const INDEX* rows, const VALUE* values, const REAL* usages,
                                                const REAL* basis, const REAL* floor, double* cross,
                                                double* data_terms) {
    const Team team(n_lines, chosen);
    const Components features = team.load(basis, team.line);
    const REAL least = floor[team.line];
    Sums sums;
    visit(team, pointers, rows, values, usages, [&](REAL value, const Components& now, INDEX) {
        const REAL quotient = value / (dot(now, features) + least);
        sums.add(quotient, now);
        if (value > REAL(0)) sums.data_term += double(value) * (double(log(quotient)) - 1.0);
    });
    sums.store(team, cross, data_terms);
}

extern "C" __global__ void sum_frobenius(long long n_lines, const int* chosen, const POINTER* pointers,
                                         const INDEX* rows, const VALUE* values, const REAL* usages, double* cross,
                                         double* data_terms) {
    const Team team(n_lines, chosen);
    Sums sums;
    visit(team, pointers, rows, values, usages, [&](REAL value, const Components& now, INDEX) {
        sums.add(value, now);
        sums.data_term += double(value) * double(value);
    });
    sums.store(team, cross, data_terms);
}

/* One new token of many rows of text, each with keys and values of its own length: see ragged.py and kernel.py.
 *
 * A row's states are (groups, room, width) in bf16 or fp32, the first tokens[row] of them count. All arithmetic is
 * fp32, in lanes of 16 numbers: width is a multiple of that, and the same for keys and values. Nothing here can see how
 * much memory there is behind a pointer: kernel.py checks all of it before it calls. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define MOST_BLOCKS 16 /* of LANES numbers: a width of 256 */

typedef float Floats __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));

INLINE Floats at(const void *states, long index, int is_bf16) {
    if (!is_bf16) return *(const Floats *)((const float *)states + index);
    Halves halves = *(const Halves *)((const uint16_t *)states + index);
    return (Floats)(__builtin_convertvector(halves, Bits) << 16);
}

INLINE float sum_of(Floats lanes) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

/* exp(x) for x <= 0, by the polynomial of the Cephes library; below -87 the smallest that it knows. */
INLINE float exp_of(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* One query over the tokens of one row and key head; `blocks` of LANES numbers are the width of a head. */
INLINE void attend_head(const float *query, const void *keys, const void *values, long first, long tokens, long blocks,
                        float scale, float *weights, float *out, int is_bf16) {
    Floats parts[MOST_BLOCKS], sums[MOST_BLOCKS];
    for (long b = 0; b < blocks; b++) parts[b] = at(query, b * LANES, 0) * scale;
    float most = -INFINITY, total = 0;
    for (long t = 0; t < tokens; t++) {
        Floats products = parts[0] * at(keys, first + t * blocks * LANES, is_bf16);
        for (long b = 1; b < blocks; b++) products += parts[b] * at(keys, first + (t * blocks + b) * LANES, is_bf16);
        weights[t] = sum_of(products);
        most = weights[t] > most ? weights[t] : most;
    }
#pragma omp simd reduction(+ : total)
    for (long t = 0; t < tokens; t++) {
        weights[t] = exp_of(weights[t] - most);
        total += weights[t];
    }
    for (long b = 0; b < blocks; b++) sums[b] = (Floats){0};
    for (long t = 0; t < tokens; t++)
        for (long b = 0; b < blocks; b++)
            sums[b] += weights[t] * at(values, first + (t * blocks + b) * LANES, is_bf16);
    for (long b = 0; b < blocks; b++) *(Floats *)(out + b * LANES) = sums[b] / total;
}

/* The usual widths are constants to the compiler, which keeps the sums in registers then. */
INLINE void attend_head_of(const float *query, const void *keys, const void *values, long first, long tokens,
                           long blocks, float scale, float *weights, float *out, int is_bf16) {
#define OF(known)                                                                                       \
    case known:                                                                                         \
        attend_head(query, keys, values, first, tokens, known, scale, weights, out, is_bf16);           \
        break
    switch (blocks) {
        OF(2);
        OF(3);
        OF(4);
        OF(5);
        OF(6);
        OF(8);
        default:
            attend_head(query, keys, values, first, tokens, blocks, scale, weights, out, is_bf16);
    }
}

/* 0, or 1 where there was no memory for the weights of a row and `out` is not whole. */
INLINE int attend(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                   const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                   float *out, int is_bf16) {
    long longest = 0;
    int failed = 0;
    for (long r = 0; r < rows; r++) longest = tokens[r] > longest ? tokens[r] : longest;
#pragma omp parallel
    {
        float *weights = malloc(sizeof(float) * (longest + 1));
        if (weights == NULL) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (long r = 0; r < rows; r++)
            for (long g = 0; g < groups; g++)
                for (long q = 0; weights != NULL && q < queries_a_group; q++) {
                    long head = ((r * groups + g) * queries_a_group + q) * width;
                    attend_head_of(queries + head, keys[r], values[r], g * rooms[r] * width, tokens[r],
                                   width / LANES, scale, weights, out + head, is_bf16);
                }
        free(weights);
    }
    return failed;
}

int attend_fp32(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                float *out) {
    return attend(queries, keys, values, tokens, rooms, rows, groups, queries_a_group, width, scale, out, 0);
}

int attend_bf16(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                float *out) {
    return attend(queries, keys, values, tokens, rooms, rows, groups, queries_a_group, width, scale, out, 1);
}

/* Write keys and values (rows, groups, head_bytes) behind the tokens of each row and count them; 0, or 1 where a row has
 * no room for them and nothing was written. */
int append(const char *keys, const char *values, char *const *all_keys, char *const *all_values, int64_t *tokens,
           const int64_t *rooms, long rows, long groups, long head_bytes) {
    for (long r = 0; r < rows; r++)
        if (tokens[r] >= rooms[r]) return 1;
    for (long r = 0; r < rows; r++) {
        for (long g = 0; g < groups; g++) {
            long place = (g * rooms[r] + tokens[r]) * head_bytes, head = (r * groups + g) * head_bytes;
            memcpy(all_keys[r] + place, keys + head, head_bytes);
            memcpy(all_values[r] + place, values + head, head_bytes);
        }
        tokens[r]++;
    }
    return 0;
}

/* One new token of many rows of text, each with keys and values of its own length: see ragged.py and kernel.py.
 *
 * A row's states are (groups, room, width) in bf16 or fp32, the first tokens[row] of them count. All arithmetic is fp32. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float at(const void *states, long index, int is_bf16) {
    if (!is_bf16) return ((const float *)states)[index];
    uint32_t bits = (uint32_t)((const uint16_t *)states)[index] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
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

/* One query over the tokens of one row and key head. */
INLINE void attend_head(const float *query, const void *keys, const void *values, long first, long tokens, long width,
                        float scale, float *weights, float *out, int is_bf16) {
    float most = -INFINITY, total = 0;
    for (long t = 0; t < tokens; t++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long d = 0; d < width; d++) sum += query[d] * at(keys, first + t * width + d, is_bf16);
        weights[t] = sum * scale;
        most = weights[t] > most ? weights[t] : most;
    }
#pragma omp simd reduction(+ : total)
    for (long t = 0; t < tokens; t++) {
        weights[t] = exp_of(weights[t] - most);
        total += weights[t];
    }
    for (long d = 0; d < width; d++) out[d] = 0;
    for (long t = 0; t < tokens; t++) {
        float weight = weights[t] / total;
#pragma omp simd
        for (long d = 0; d < width; d++) out[d] += weight * at(values, first + t * width + d, is_bf16);
    }
}

INLINE void attend(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                   const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                   float *out, int is_bf16) {
    long longest = 0;
    for (long r = 0; r < rows; r++) longest = tokens[r] > longest ? tokens[r] : longest;
#pragma omp parallel
    {
        float *weights = malloc(sizeof(float) * (longest + 1));
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (long r = 0; r < rows; r++)
            for (long g = 0; g < groups; g++)
                for (long q = 0; q < queries_a_group; q++) {
                    long head = ((r * groups + g) * queries_a_group + q) * width;
                    attend_head(queries + head, keys[r], values[r], g * rooms[r] * width, tokens[r], width, scale,
                                weights, out + head, is_bf16);
                }
        free(weights);
    }
}

void attend_fp32(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                 const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                 float *out) {
    attend(queries, keys, values, tokens, rooms, rows, groups, queries_a_group, width, scale, out, 0);
}

void attend_bf16(const float *queries, const void *const *keys, const void *const *values, const int64_t *tokens,
                 const int64_t *rooms, long rows, long groups, long queries_a_group, long width, float scale,
                 float *out) {
    attend(queries, keys, values, tokens, rooms, rows, groups, queries_a_group, width, scale, out, 1);
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

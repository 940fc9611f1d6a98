/* SPDX-License-Identifier: Apache-2.0 */
/* Where the exponential buckets of native histograms end: bit for bit the numbers of Prometheus. */
#include <float.h>
#include <math.h>

#include "pra.h"

enum { SCHEMA_MIN = -4, SCHEMA_MAX = 8 };

/* 2^(k / 2^schema) / 2. As Prometheus makes its table: an even k has the number of the schema
 * before, an odd one the number before it times 2^(1 / 2^schema), whose square root of 2 is one
 * ulp below the nearest double. */
static double fraction(int32_t schema, int32_t k)
{
    static const double factors[] = {0x1p+1,
                                     0x1.6a09e667f3bccp+0,
                                     0x1.306fe0a31b715p+0,
                                     0x1.172b83c7d517bp+0,
                                     0x1.0b5586cf9890fp+0,
                                     0x1.059b0d3158574p+0,
                                     0x1.02c9a3e778061p+0,
                                     0x1.0163da9fb3335p+0,
                                     0x1.00b1afa5abcbfp+0};
    while (k && k % 2 == 0) {
        k /= 2;
        schema--;
    }
    return k ? fraction(schema - 1, k / 2) * factors[schema] : 0.5;
}

double pra_histogram_bound(int32_t schema, int32_t index)
{
    if (schema < SCHEMA_MIN || schema > SCHEMA_MAX)
        return NAN;
    const int64_t shifted = schema < 0 ? index * (INT64_C(1) << -schema) : index;
    const int64_t per_power = INT64_C(1) << (schema < 0 ? 0 : schema);
    const int64_t k = ((shifted % per_power) + per_power) % per_power;
    const int64_t power = (shifted - k) / per_power;
    if (k == 0 && power == 1024)
        return DBL_MAX; /* the bucket behind it is that of infinity */
    if (power > 1024 || power < -1100)
        return power > 0 ? INFINITY : 0;
    return ldexp(fraction(schema, (int32_t)k), (int)power + 1);
}

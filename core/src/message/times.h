/* SPDX-License-Identifier: Apache-2.0 */
/* The times of samples, or of histograms, which begin with theirs. */
#ifndef PRA_MESSAGE_TIMES_H
#define PRA_MESSAGE_TIMES_H

#include <string.h>

#include "pra.h"

struct pra__times {
    const void *first;
    size_t stride; /* bytes */
    size_t count;
};

_Static_assert(offsetof(pra_histogram, timestamp_ms) == 0, "see struct pra__times");

static inline struct pra__times pra__sample_times(const int64_t *timestamps_ms, size_t count)
{
    return (struct pra__times){timestamps_ms, sizeof(*timestamps_ms), count};
}

static inline struct pra__times pra__histogram_times(const pra_histogram *histograms, size_t count)
{
    return (struct pra__times){histograms, sizeof(*histograms), count};
}

static inline int64_t pra__time_at(const struct pra__times *times, size_t i)
{
    int64_t t;
    memcpy(&t, (const char *)times->first + i * times->stride, sizeof(t));
    return t;
}

/* 1 if those of [start, end) increase strictly. */
static inline int pra__times_increase(const struct pra__times *times, size_t start, size_t end)
{
    for (size_t i = start + 1; i < end; i++)
        if (pra__time_at(times, i - 1) >= pra__time_at(times, i))
            return 0;
    return 1;
}

/* First index whose time is not below t; they increase. */
static inline size_t pra__times_lower_bound(const struct pra__times *times, int64_t t)
{
    size_t low = 0;
    size_t count = times->count;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (pra__time_at(times, middle) < t)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* First index whose time is above t. */
static inline size_t pra__times_upper_bound(const struct pra__times *times, int64_t t)
{
    return t == INT64_MAX ? times->count : pra__times_lower_bound(times, t + 1);
}

#endif

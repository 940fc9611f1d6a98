/* SPDX-License-Identifier: Apache-2.0 */
#include "message/read_budget.h"

#include "base/error.h"

void pra__read_budget_init(pra__read_budget *budget, const pra_limits *limits)
{
    atomic_init(&budget->samples, limits->max_read_samples);
    atomic_init(&budget->bytes, limits->max_response_bytes);
    atomic_init(&budget->list_bytes, limits->max_memory_bytes);
    budget->max_samples = limits->max_read_samples;
    budget->max_bytes = limits->max_response_bytes;
    budget->max_list_bytes = limits->max_memory_bytes;
    budget->max_frame_bytes = limits->max_frame_bytes;
    budget->cancelled = NULL;
    budget->host = NULL;
}

int pra__budget_take(atomic_uint_fast64_t *left, uint64_t n)
{
    uint_fast64_t have = atomic_load_explicit(left, memory_order_relaxed);
    do {
        if (have < n)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(left, &have, have - n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 1;
}

void pra__budget_give(atomic_uint_fast64_t *left, uint64_t n)
{
    atomic_fetch_add_explicit(left, n, memory_order_relaxed);
}

int pra__budget_check_wanted(const pra__read_budget *budget, pra_error *err)
{
    if (budget->cancelled && budget->cancelled(budget->host))
        return pra_error_set_cstr(err, PRA_ERR_CANCELLED, "nobody waits for the answer any more");
    return PRA_OK;
}

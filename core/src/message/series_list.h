/* SPDX-License-Identifier: Apache-2.0 */
/* The series of an answer before their data: labels and a number that says where the data is. */
#ifndef PRA_MESSAGE_SERIES_LIST_H
#define PRA_MESSAGE_SERIES_LIST_H

#include "base/arena.h"
#include "message/label_set.h"
#include "message/read_budget.h"
#include "pra.h"

struct pra__listed {
    const pra_label *labels; /* sorted, of the list's own memory */
    size_t label_count;
    uint64_t id;
};

struct pra_series_list {
    pra_arena arena; /* labels and their strings */
    struct pra__label_set set;
    struct pra__listed *items;
    size_t count;
    size_t cap;
    const pra_label *external; /* merged into every series */
    size_t external_count;
    pra__read_budget *budget;
    uint64_t taken; /* of the budget */
    struct {        /* how it was before the last series */
        struct pra__chunk *chunk;
        size_t chunk_used, used;
        uint64_t taken;
    } before;
    pra_error failure; /* sticky */
};

void pra__series_list_init(pra_series_list *list, const pra_alloc *alloc);
/* Empties it, giving back what it took of its budget, and begins anew; budget and external are
 * borrowed until the next start or reset. */
void pra__series_list_start(pra_series_list *list, pra__read_budget *budget,
                            const pra_label *external, size_t external_count);
/* Empties; gives the memory back if it is more than retain bytes. */
void pra__series_list_trim(pra_series_list *list, size_t retain);
void pra__series_list_fini(pra_series_list *list);
/* Bytes of memory it holds, itself not included. */
size_t pra__series_list_memory(const pra_series_list *list);

/* Adds labels that are sorted and checked. Copies. Errors of pra_series_list_add. */
int pra__series_list_keep(pra_series_list *list, const pra_label *labels, size_t count, uint64_t id,
                          pra_error *err);
/* Takes the last series out again, once. */
void pra__series_list_undo(pra_series_list *list);
/* By labels; of equal ones the smaller id comes first. */
void pra__series_list_sort(pra_series_list *list);

#endif

/* One block of static memory, which one call holds at a time. */
#include "memory/reserve.h"
#include "api/kernel.h"
#include "threads/placement.h"

#include <stdatomic.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

enum { OPERANDS = FL_MAX_INPUTS + FL_MAX_OUTPUTS + 1 }; /* and the weights */

static _Alignas(64) char reserve[(size_t)OPERANDS * FL_BLOCK * sizeof(double)];
static atomic_flag reserve_taken = ATOMIC_FLAG_INIT;

#if defined(__unix__) || defined(__APPLE__)
static void after_fork(void) { atomic_flag_clear(&reserve_taken); } /* its holder is not in the child */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }
#endif

char *fl_take_reserve(void)
{
    while (atomic_flag_test_and_set(&reserve_taken))
        fl_give_way();
    return reserve;
}

void fl_give_reserve(void) { atomic_flag_clear(&reserve_taken); }

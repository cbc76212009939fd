/* A thread that wakes goes to the CPU where it last was if that is idle and close. On a virtual machine it
 * may seem to be neither, and the thread is put on the CPU of the one that wakes it, again in each call: on a
 * machine with 2 CPUs a loss of 100000 rows of 10 classes took 1.4 ms in half of all calls, instead of 0.8.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "threads/placement.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
void fl_give_way(void) { sched_yield(); }
#else
void fl_give_way(void) {}
#endif

#ifdef __linux__
int fl_cpu(void) { return sched_getcpu(); }

int fl_leave_cpu(int cpu)
{
    cpu_set_t allowed, others;
    if (cpu < 0 || sched_getcpu() != cpu || sched_getaffinity(0, sizeof allowed, &allowed))
        return 0;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (!CPU_COUNT(&others))
        return 0;
    if (!sched_setaffinity(0, sizeof others, &others)) /* moves it at once */
        sched_setaffinity(0, sizeof allowed, &allowed);
    return 1;
}
#else
int fl_cpu(void) { return -1; }
int fl_leave_cpu(int cpu)
{
    (void)cpu;
    return 0;
}
#endif

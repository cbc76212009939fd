/* Placement: threads of a team that the system has put on one CPU. */
#ifndef FL_PLACEMENT_H
#define FL_PLACEMENT_H

/* The CPU of the calling thread, or -1. */
int fl_cpu(void);
/* Moves the calling thread away from this CPU, if it is there and may be elsewhere. Returns whether it was.
 */
int fl_leave_cpu(int cpu);
/* Lets a thread run that waits for the caller's CPU. */
void fl_give_way(void);

#endif

// Draws when what goes wrong in the first phase of a run.
#pragma once

namespace klaw::dataplane::simulation {

class World;
class Workload;

void schedule_faults(World& world, Workload& workload);

}  // namespace klaw::dataplane::simulation

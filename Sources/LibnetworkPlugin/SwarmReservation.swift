// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import CalicoModel
import Datastore

// A Swarm network of global scope has two who ask for each address, and two who give it back. The manager takes one for
// every task and service ahead of time, without a MAC; the node that runs the task then asks for that very address. After
// a change of leader the new manager asks for all of them once more (swarmkit `cnmallocator`).
//
// The task's allocation takes the place of the manager's. It ends with the task, and what the manager gives back after
// that is nobody's any more. An address that no task came for, a service's for example, is freed by the manager. What it
// forgets, because a network or the Swarm ended first, is freed when no network of a Swarm is left: neither with a task on
// any node, nor at the manager's engine.

extension AllocationAttributes {
    private static let swarmKey = "swarm"

    /// Taken by a manager, and not in use.
    var isSwarmReservation: Bool { secondary[Self.swarmKey] == "reserved" }
    /// In use by a task, for which a manager had taken it.
    var isSwarmTask: Bool { secondary[Self.swarmKey] == "task" }

    /// This owner, as a manager who takes the address ahead of a task.
    func reservingForSwarm() -> Self { marked("reserved") }
    /// This owner, as the task that the address was taken for.
    func usingSwarmReservation() -> Self { marked("task") }

    private func marked(_ mark: String) -> Self {
        var owner = self
        owner.secondary[Self.swarmKey] = mark
        return owner
    }
}

extension ClusterState {
    var hasSwarmNetwork: Bool { networks.values.contains { $0.value.isOfSwarm } }
}

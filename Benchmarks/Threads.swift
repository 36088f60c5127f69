// SPDX-License-Identifier: Apache-2.0
// Copyright the calico-libnetwork authors

import Glibc
import Synchronization

private final class Job: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private final class Results<Value: Sendable>: Sendable {
    let values = Mutex<[Result<Value, any Error>]>([])
}

/// Runs `work` on this many threads at once, and waits for all. Their clients block, so tasks would not do.
func onThreads<Value: Sendable>(
    _ count: Int, _ work: @escaping @Sendable (Int) throws -> Value
) throws -> [Value] {
    let results = Results<Value>()
    try join(
        (0..<count).map { number in
            Job {
                let result = Result { try work(number) }
                results.values.withLock { $0.append(result) }
            }
        })
    return try results.values.withLock { $0 }.map { try $0.get() }
}

private func join(_ jobs: [Job]) throws {
    let threads = try jobs.map { job in
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { job in
                Unmanaged<Job>.fromOpaque(job!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(job).toOpaque())
        guard code == 0 else { throw BenchmarkError("cannot start a thread: \(String(cString: strerror(code)))") }
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}

import Hardware

/// The virtual I/O components behind the virtual functions (regmaps/vic/README.md).
struct Components {
    private let controller: VIC

    init(_ controller: VIC) { self.controller = controller }

    /// Virtio's number of block devices (virtio 1.2, section 5): what this device's virtual functions are.
    private static let blockDevice: UInt32 = 2
    /// The most that a component may have; its own registers tell the driver how many there are.
    private static let queues: UInt32 = 32

    /// Gives each virtual function a component that the device serves: before that its doorbells are held. Components that have
    /// outlived a restart of the firmware stay where they are.
    func create(count: UInt32) {
        for number in 1..<(min(count, controller.count.count &- 1) &+ 1) {
            let component = controller.component[Int(number)]
            guard !component.state.present else { continue }
            component.identity = .init(kind: Self.blockDevice, owner: number, queues: Self.queues)
            component.write(VIC.COMPONENT.TRANSITION(state: .running, location: .device))
        }
    }
}

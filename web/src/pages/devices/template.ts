/** What a new device begins with. */
export const TEMPLATE = `apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata:
  namespace: default
  name: web-ams1-07
  labels: {site: ams1}
spec:
  type: Server            # Server, Network or Storage
  class: web-server       # a DeviceClass: how it is reached, probed and read
  address: 10.10.0.17
  parents: []             # what it hangs off
`;

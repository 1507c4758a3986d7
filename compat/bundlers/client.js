/** What a client needs, for the size of its bundle. */
import { joinMesh } from 'inmesh'

joinMesh({ service: 'checkout' }).then((mesh) => mesh.fetch('http://inventory/items/42'))
